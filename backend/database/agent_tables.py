"""Defines the tables of agents: runs, their steps, and confirmations. `migrations` creates them.

Times are microseconds since 1970 (UTC).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from backend.database.ledger_tables import LABEL
from backend.database.tables import Base

RUNS: Final = Table(
    "agent_runs",
    Base.metadata,
    Column("id", LABEL, nullable=False),
    *(Column(name, LABEL, nullable=False) for name in ("agent", "tenant_id", "user_id")),
    *(Column(name, LABEL) for name in ("conversation", "parent", "parent_call")),
    *(Column(name, Text, nullable=False) for name in ("question", "budget")),
    Column("state", LABEL, nullable=False),
    Column("reason", LABEL),
    Column("answer", Text),
    Column("remembered", Boolean, nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in ("created_at", "updated_at", "leased_until")),
    Column("leased_by", LABEL),
    PrimaryKeyConstraint("id"),
)
Index(
    "ix_agent_runs_conversation",
    *(RUNS.c[name] for name in ("user_id", "tenant_id", "agent", "conversation", "created_at")),
)
Index("ix_agent_runs_recent", *(RUNS.c[name] for name in ("user_id", "tenant_id", "created_at")))
Index("ix_agent_runs_parent", RUNS.c.parent)

STEPS: Final = Table(
    "agent_steps",
    Base.metadata,
    Column("run", LABEL, ForeignKey(RUNS.c.id, ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("step", Text, nullable=False),
    PrimaryKeyConstraint("run", "number"),
)
"""If two processes insert a step of the same number, one of them fails."""

CONFIRMATIONS: Final = Table(
    "agent_confirmations",
    Base.metadata,
    *(Column(name, LABEL, nullable=False) for name in ("id", "tenant_id", "user_id", "agent", "run", "call")),
    Column("number", Integer, nullable=False),
    *(Column(name, LABEL, nullable=False) for name in ("tool", "title", "risk", "definition", "terms")),
    Column("arguments", Text, nullable=False),
    Column("digest", LABEL, nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in ("asked_at", "expires_at")),
    Column("state", LABEL, nullable=False),
    Column("decided_by", LABEL),
    Column("decided_at", BigInteger),
    Column("reason", Text),
    Column("edited_from", LABEL),
    Column("leased_until", BigInteger),
    Column("status", LABEL),
    Column("outcome", Text),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("run", "call", "number", name="uq_agent_confirmations_call"),
)
IS_OPEN: Final = text("state IN ('pending', 'executing', 'unknown')")
"""Literal SQL, as in the indexes: with parameters, a database could not choose a partial index."""
IS_PENDING: Final = text("state = 'pending'")
IS_EXECUTING: Final = text("state = 'executing'")
_INDEXES: Final = (
    ("open", ("user_id", "tenant_id", "asked_at"), IS_OPEN),
    ("pending", ("expires_at",), IS_PENDING),
    ("executing", ("leased_until",), IS_EXECUTING),
)
for _name, _columns, _holds in _INDEXES:
    Index(
        f"ix_agent_confirmations_{_name}",
        *(CONFIRMATIONS.c[column] for column in _columns),
        sqlite_where=_holds,
        postgresql_where=_holds,
    )
