"""Sessions of browsers. Before, the cookie was the access token."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "login_sessions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("token_id", sa.String(), nullable=True),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("last_used_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_login_sessions"),
        sa.UniqueConstraint("hash", name="uq_login_sessions_hash"),
        sa.ForeignKeyConstraint(
            ["token_id"], ["access_tokens.id"], name="fk_login_sessions_token_id", ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    op.drop_table("login_sessions")
