"""The migrations of the database. `upgrade` brings a database to the newest version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncEngine


_ALONE: Final = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": "SELECT pg_advisory_xact_lock(5077290461)",  # a number of ours: nothing else takes it
}
"""Whoever comes second waits, and finds nothing left to do."""


async def upgrade(engine: AsyncEngine) -> None:
    """Apply all migrations that the database lacks, in one transaction.

    Safe to call again, and in several processes at once: a lock lets one process migrate at a time.
    """
    async with engine.begin() as connection:
        await connection.exec_driver_sql(_ALONE[engine.dialect.name])
        await connection.run_sync(_upgrade)


def list_revisions() -> tuple[str, ...]:
    """List the names of all migrations (Alembic revisions), the newest first."""
    return tuple(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def _upgrade(connection: Connection) -> None:
    command.upgrade(_config(connection=connection), "head")


def _config(**attributes: Any) -> Config:
    config = Config(attributes=attributes)
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
