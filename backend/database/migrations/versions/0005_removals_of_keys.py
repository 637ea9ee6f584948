"""Which keys were removed, for processes that have lent them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "key_removals",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("removed_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_key_removals"),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    op.drop_table("key_removals")
