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
from backend.database.postgres import connected_postgres

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from backend.settings import Settings

_REVISION: Final = "SELECT version_num FROM alembic_version"


class Condition(NamedTuple):
    """What an examination of the database found.

    Attributes:
        place: The path of the SQLite file, or the address of the PostgreSQL server.
        exists: Whether the database exists. SQLite's is created at the first start.
        fault: Why the database cannot be used; None if it can.
        revision: The last migration that was applied; None if none was.
        now: The time of the database server's clock; None for SQLite.
    """

    place: str
    exists: bool
    fault: str | None = None
    revision: str | None = None
    now: datetime | None = None


async def condition(settings: Settings) -> Condition:
    """Examine the database that the settings name."""
    url = settings.database_url
    return _sqlite(settings.database_path) if url is None else await _postgres(url.get_secret_value())


def _sqlite(path: Path) -> Condition:
    there = path.exists()
    holder = path if there else next(one for one in path.absolute().parents if one.exists())
    if not os.access(holder, os.W_OK):
        return Condition(str(path), there, f"{holder} cannot be written")
    if not there:
        return Condition(str(path), exists=False)
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return Condition(str(path), exists=True, revision=_revision(connection))
    except sqlite3.Error as error:
        return Condition(str(path), exists=True, fault=f"{path}: {error}")


def _revision(connection: sqlite3.Connection) -> str | None:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    found = connection.execute(_REVISION).fetchone() if "alembic_version" in tables else None
    return None if found is None else str(found[0])


async def _postgres(url: str) -> Condition:
    place = "PostgreSQL at DATABASE_URL"
    try:
        async with connected_postgres(url) as engine, engine.connect() as connection:
            now = (await connection.execute(text("SELECT now()"))).scalar_one().astimezone(UTC)
            return Condition(place, exists=True, revision=await _revision_there(connection), now=now)
    except UnusableDatabaseError as error:
        return Condition(place, exists=False, fault=str(error))
    except DBAPIError as error:
        return Condition(place, exists=False, fault=f"{place}: {str(error.orig).splitlines()[0]}")


async def _revision_there(connection: AsyncConnection) -> str | None:
    try:
        found: str | None = (await connection.execute(text(_REVISION))).scalar_one_or_none()
    except ProgrammingError:  # there is no such table yet
        return None
    return found
