"""Opens the application's database: PostgreSQL if the settings name one, else SQLite."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING

from backend.database.engine import connected_sqlite, opened_sqlite
from backend.database.postgres import PostgresProbe, connected_postgres, opened_postgres
from backend.database.probe import Probe, SqliteProbe
from backend.database.wal import truncating_log

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.background import Background
    from backend.settings import Settings


def opened_database(settings: Settings) -> AbstractAsyncContextManager[AsyncEngine]:
    """Open the application's database as a context manager, and create or migrate its tables.

    Raises:
        UnusableDatabaseError: The database cannot be created, reached or read; raised on entering the context.
    """
    url = settings.database_url
    return opened_sqlite(settings.database_path) if url is None else opened_postgres(url.get_secret_value())


def connected_database(settings: Settings) -> AbstractAsyncContextManager[AsyncEngine]:
    """Open a second engine on the application's database, with connections of its own, as a context manager.

    It expects the tables to be there.

    Raises:
        UnusableDatabaseError: The database cannot be used; raised on entering the context.
    """
    url = settings.database_url
    return (
        connected_sqlite(settings.database_path)
        if url is None
        else connected_postgres(url.get_secret_value())
    )


def probe(settings: Settings, apart: AsyncEngine) -> Probe:
    """Make the health check of the database. It uses connections of ``apart``, an engine from `connected_database`."""
    return SqliteProbe(settings.database_path) if settings.database_url is None else PostgresProbe(apart)


def cleaned(settings: Settings, background: Background) -> AbstractAsyncContextManager[None]:
    """While the context lasts, erase deleted data from SQLite's files now and then. Does nothing with PostgreSQL."""
    if settings.database_url is None:
        return truncating_log(settings.database_path, background)
    return nullcontext()
