"""Runs of agents, their steps, and what has to be confirmed."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from backend.database.ledger_tables import LABEL

revision = "0010"
down_revision = "0009"


def _of(kind: sa.types.TypeEngine[Any], *names: str, nullable: bool = False) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, nullable=nullable) for name in names]


def upgrade() -> None:
    op.create_table(
        "agent_runs",
        *_of(LABEL, "id", "agent", "tenant_id", "user_id"),
        *_of(LABEL, "conversation", "parent", "parent_call", nullable=True),
        *_of(sa.Text(), "question", "budget"),
        *_of(LABEL, "state"),
        *_of(LABEL, "reason", nullable=True),
        *_of(sa.Text(), "answer", nullable=True),
        *_of(sa.Boolean(), "remembered"),
        *_of(sa.BigInteger(), "created_at", "updated_at", "leased_until"),
        *_of(LABEL, "leased_by", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_agent_runs"),
    )
    op.create_index(
        "ix_agent_runs_conversation",
        "agent_runs",
        ["user_id", "tenant_id", "agent", "conversation", "created_at"],
    )
    op.create_index("ix_agent_runs_recent", "agent_runs", ["user_id", "tenant_id", "created_at"])
    op.create_index("ix_agent_runs_parent", "agent_runs", ["parent"])
    op.create_table(
        "agent_steps",
        *_of(LABEL, "run"),
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        *_of(sa.BigInteger(), "at"),
        *_of(sa.Text(), "step"),
        sa.PrimaryKeyConstraint("run", "number", name="pk_agent_steps"),
        sa.ForeignKeyConstraint(["run"], ["agent_runs.id"], name="fk_agent_steps_run", ondelete="CASCADE"),
    )
    op.create_table(
        "agent_confirmations",
        *_of(LABEL, "id", "tenant_id", "user_id", "agent", "run", "call"),
        *_of(sa.Integer(), "number"),
        *_of(LABEL, "tool", "title", "risk", "definition", "terms"),
        *_of(sa.Text(), "arguments"),
        *_of(LABEL, "digest"),
        *_of(sa.BigInteger(), "asked_at", "expires_at"),
        *_of(LABEL, "state"),
        *_of(LABEL, "decided_by", nullable=True),
        *_of(sa.BigInteger(), "decided_at", nullable=True),
        *_of(sa.Text(), "reason", nullable=True),
        *_of(LABEL, "edited_from", nullable=True),
        *_of(sa.BigInteger(), "leased_until", nullable=True),
        *_of(LABEL, "status", nullable=True),
        *_of(sa.Text(), "outcome", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_agent_confirmations"),
        sa.UniqueConstraint("run", "call", "number", name="uq_agent_confirmations_call"),
    )
    _index("open", ["user_id", "tenant_id", "asked_at"], "state IN ('pending', 'executing', 'unknown')")
    _index("pending", ["expires_at"], "state = 'pending'")
    _index("executing", ["leased_until"], "state = 'executing'")


def _index(name: str, columns: list[str], where: str) -> None:
    holds = sa.text(where)
    op.create_index(
        f"ix_agent_confirmations_{name}",
        "agent_confirmations",
        columns,
        sqlite_where=holds,
        postgresql_where=holds,
    )


def downgrade() -> None:
    for table in ("agent_confirmations", "agent_steps", "agent_runs"):
        op.drop_table(table)
