"""Run by Alembic, on the connection that `upgrade` hands it."""

from __future__ import annotations

from alembic import context

from backend.database import agent_tables, budget_tables, ledger_tables  # noqa: F401 - theirs are tables of `Base`, too
from backend.database.tables import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
