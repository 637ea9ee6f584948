"""Counters of budgets, and what is set aside of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from backend.database.ledger_tables import LABEL

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "budget_counters",
        *(sa.Column(name, LABEL, nullable=False) for name in ("budget", "per", "subject", "begins")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("spent", "reserved", "raised")),
        sa.PrimaryKeyConstraint("budget", "per", "subject", "begins", name="pk_budget_counters"),
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "budget_reservations",
        sa.Column("id", LABEL, nullable=False),
        sa.Column("place", sa.SmallInteger(), nullable=False, autoincrement=False),
        *(sa.Column(name, LABEL, nullable=False) for name in ("budget", "per", "subject", "begins")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("amount", "until")),
        sa.PrimaryKeyConstraint("id", "place", name="pk_budget_reservations"),
    )
    op.create_index("ix_budget_reservations_until", "budget_reservations", ["until"])


def downgrade() -> None:
    op.drop_table("budget_reservations")
    op.drop_table("budget_counters")
