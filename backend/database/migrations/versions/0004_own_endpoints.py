"""Where a user's own endpoint is, and what it calls its model."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("user_keys", sa.Column("base_url", sa.String(), nullable=True))
    op.add_column("user_keys", sa.Column("model", sa.String(), nullable=True))


def downgrade() -> None:
    op.execute("DELETE FROM user_keys WHERE base_url IS NOT NULL")
    op.drop_column("user_keys", "model")
    op.drop_column("user_keys", "base_url")
