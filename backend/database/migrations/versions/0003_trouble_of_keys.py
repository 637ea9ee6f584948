"""Why a provider refuses a user's key, when its owner was told, and what they chose for their keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("user_keys", sa.Column("trouble_reason", sa.String(), nullable=True))
    op.add_column("user_keys", sa.Column("trouble_endpoint", sa.String(), nullable=True))
    op.add_column("user_keys", sa.Column("trouble_since", sa.DateTime(), nullable=True))
    op.add_column("user_keys", sa.Column("trouble_last", sa.DateTime(), nullable=True))
    op.create_table(
        "key_notices",
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.ForeignKeyConstraint(
            ["key_id"], ["user_keys.id"], name="fk_key_notices_key_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key_id", "reason", name="pk_key_notices"),
    )
    op.create_table(
        "key_owners",
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("house_fallback", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "tenant_id", name="pk_key_owners"),
    )


def downgrade() -> None:
    op.drop_table("key_owners")
    op.drop_table("key_notices")
    for column in ("reason", "endpoint", "since", "last"):
        op.drop_column("user_keys", f"trouble_{column}")
