"""Opens the application's database: PostgreSQL if the settings name one, else SQLite."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING

from backend.database.engine import open_and_migrate_sqlite, open_sqlite_engine
from backend.database.postgres import PostgresProbe, open_and_migrate_postgres, open_postgres_engine
from backend.database.probe import DatabaseProbe, SqliteProbe
from backend.database.wal import truncate_wal_periodically

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.background import BackgroundTaskRunner
    from backend.settings import Settings


def open_and_migrate_database(settings: Settings) -> AbstractAsyncContextManager[AsyncEngine]:
    """Open an engine on the application's database, and create or migrate its tables.

    An asynchronous context manager.

    Raises:
        UnusableDatabaseError: The database cannot be created, reached or read. Raised on entering the
            context.
    """
    url = settings.database_url
    return (
        open_and_migrate_sqlite(settings.database_path)
        if url is None
        else open_and_migrate_postgres(url.get_secret_value())
    )


def open_database_engine(settings: Settings) -> AbstractAsyncContextManager[AsyncEngine]:
    """Open one more engine on the application's database, with connections of its own.

    An asynchronous context manager. The tables must exist: they are not created or migrated.

    Raises:
        UnusableDatabaseError: The database cannot be used. Raised on entering the context.
    """
    url = settings.database_url
    return (
        open_sqlite_engine(settings.database_path)
        if url is None
        else open_postgres_engine(url.get_secret_value())
    )


def make_database_probe(settings: Settings, engine: AsyncEngine) -> DatabaseProbe:
    """Make the health check for the application's database.

    Args:
        settings: Tell whether the database is PostgreSQL or SQLite.
        engine: An engine from `open_database_engine`, used for this check only; unused with SQLite.
    """
    return SqliteProbe(settings.database_path) if settings.database_url is None else PostgresProbe(engine)


def erase_deleted_data_periodically(
    settings: Settings, background: BackgroundTaskRunner
) -> AbstractAsyncContextManager[None]:
    """While the context lasts, erase deleted data from SQLite's write-ahead log every few seconds.

    Does nothing with PostgreSQL.
    """
    if settings.database_url is None:
        return truncate_wal_periodically(settings.database_path, background)
    return nullcontext()
