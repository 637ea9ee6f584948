"""Scopes, tenants, limits and ends of access tokens; conversations of tenants' users. What was there may do what it could."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_TOKENS = "access_tokens"
_INDEX = "ix_conversations_newest_of_user"


def upgrade() -> None:
    op.add_column(_TOKENS, sa.Column("tenant_id", sa.String(), nullable=False, server_default=""))
    op.add_column(_TOKENS, sa.Column("scopes", sa.String(), nullable=False, server_default="call"))
    for name in ("rate", "budget_usd", "budget_period"):
        op.add_column(_TOKENS, sa.Column(name, sa.String(), nullable=True))
    op.add_column(_TOKENS, sa.Column("expires_at", sa.DateTime(), nullable=True))
    op.execute("UPDATE access_tokens SET scopes = 'call debug admin' WHERE user_id = 'admin'")
    op.add_column("conversations", sa.Column("tenant_id", sa.String(), nullable=False, server_default=""))
    op.drop_index(_INDEX, "conversations")
    newest = sa.text("created_at DESC")
    op.create_index(_INDEX, "conversations", ["user_id", "tenant_id", newest, "id"])


def downgrade() -> None:
    op.drop_index(_INDEX, "conversations")
    op.create_index(_INDEX, "conversations", ["user_id", sa.text("created_at DESC"), "id"])
    op.drop_column("conversations", "tenant_id")
    for name in ("tenant_id", "scopes", "rate", "budget_usd", "budget_period", "expires_at"):
        op.drop_column(_TOKENS, name)
