"""Defines the tables of budgets: a counter for each window, and what open requests have reserved of each."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, PrimaryKeyConstraint, SmallInteger, Table

from backend.database.ledger_tables import LABEL
from backend.database.tables import Base

COUNTERS: Final = Table(
    "budget_counters",
    Base.metadata,
    *(Column(name, LABEL, nullable=False) for name in ("budget", "per", "subject", "begins")),
    *(Column(name, BigInteger, nullable=False) for name in ("spent", "reserved", "raised")),
    PrimaryKeyConstraint("budget", "per", "subject", "begins"),
    postgresql_with={"fillfactor": 50},
)
"""The counters, in pico-dollars or tokens. On PostgreSQL, half of each page stays free, so that an update moves no row."""

RESERVATIONS: Final = Table(
    "budget_reservations",
    Base.metadata,
    Column("id", LABEL, nullable=False),
    Column("place", SmallInteger, nullable=False, autoincrement=False),
    *(Column(name, LABEL, nullable=False) for name in ("budget", "per", "subject", "begins")),
    *(Column(name, BigInteger, nullable=False) for name in ("amount", "until")),
    PrimaryKeyConstraint("id", "place"),
)
"""What a request has reserved of each counter, and until when: microseconds since 1970. Ignored after that."""
Index("ix_budget_reservations_until", RESERVATIONS.c.until)
