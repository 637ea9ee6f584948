"""The history of the tables. `upgrade` brings a database up to now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from alembic import command
from alembic.config import Config

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncEngine


_ALONE: Final = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": "SELECT pg_advisory_xact_lock(5077290461)",  # a number of ours: nothing else takes it
}
"""Whoever comes second waits, and finds nothing left to do."""


async def upgrade(engine: AsyncEngine) -> None:
    """Apply every migration that the database has not seen, all of them or none. Safe to repeat and to race."""
    async with engine.begin() as connection:
        await connection.exec_driver_sql(_ALONE[engine.dialect.name])
        await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, "head")
