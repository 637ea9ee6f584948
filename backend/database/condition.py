"""Examines the database for the command line, read-only: nothing is created, migrated or written."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from backend.database.engine import UnusableDatabaseError
from backend.database.postgres import open_postgres_engine

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from backend.settings import Settings

_REVISION: Final = "SELECT version_num FROM alembic_version"


class DatabaseStatus(NamedTuple):
    """The state of the database, as the command line shows it.

    Attributes:
        place: The path of the SQLite file, or a text that stands for the PostgreSQL server.
        exists: Whether the database exists. An SQLite file is created when the server first starts.
        fault: Why the database cannot be used; None if it can.
        revision: The name of the last migration that was applied; None if none was.
        now: The time on the database server's clock; None for SQLite.
    """

    place: str
    exists: bool
    fault: str | None = None
    revision: str | None = None
    now: datetime | None = None


async def read_database_status(settings: Settings) -> DatabaseStatus:
    """Read the state of the database that is configured in ``settings``. Nothing is created or migrated."""
    url = settings.database_url
    return _sqlite(settings.database_path) if url is None else await _postgres(url.get_secret_value())


def _sqlite(path: Path) -> DatabaseStatus:
    there = path.exists()
    holder = path if there else next(parent for parent in path.absolute().parents if parent.exists())
    if not os.access(holder, os.W_OK):
        return DatabaseStatus(str(path), there, f"{holder} cannot be written")
    if not there:
        return DatabaseStatus(str(path), exists=False)
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return DatabaseStatus(str(path), exists=True, revision=_revision(connection))
    except sqlite3.Error as error:
        return DatabaseStatus(str(path), exists=True, fault=f"{path}: {error}")


def _revision(connection: sqlite3.Connection) -> str | None:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    found = connection.execute(_REVISION).fetchone() if "alembic_version" in tables else None
    return None if found is None else str(found[0])


async def _postgres(url: str) -> DatabaseStatus:
    place = "PostgreSQL at DATABASE_URL"
    try:
        async with open_postgres_engine(url) as engine, engine.connect() as connection:
            now = (await connection.execute(text("SELECT now()"))).scalar_one().astimezone(UTC)
            return DatabaseStatus(place, exists=True, revision=await _revision_there(connection), now=now)
    except UnusableDatabaseError as error:
        return DatabaseStatus(place, exists=False, fault=str(error))
    except DBAPIError as error:
        return DatabaseStatus(place, exists=False, fault=f"{place}: {str(error.orig).splitlines()[0]}")


async def _revision_there(connection: AsyncConnection) -> str | None:
    try:
        found: str | None = (await connection.execute(text(_REVISION))).scalar_one_or_none()
    except ProgrammingError:  # there is no such table yet
        return None
    return found
