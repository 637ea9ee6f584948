"""The database of an application: PostgreSQL where its settings name one, else SQLite."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING

from backend.database.engine import connected, opened
from backend.database.postgres import PostgresProbe, connected_postgres, opened_postgres
from backend.database.probe import Probe, SqliteProbe
from backend.database.wal import emptying

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.background import Background
    from backend.settings import Settings


def opened_database(settings: Settings) -> AbstractAsyncContextManager[AsyncEngine]:
    """An engine on it, which has all of its tables then.

    Raises:
        UnusableDatabaseError: When it is entered, if the database cannot be made, reached or read.
    """
    url = settings.database_url
    return opened(settings.database_path) if url is None else opened_postgres(url.get_secret_value())


def connected_database(settings: Settings) -> AbstractAsyncContextManager[AsyncEngine]:
    """An engine with connections of its own.

    Raises:
        UnusableDatabaseError: When it is entered, if that cannot be.
    """
    url = settings.database_url
    return connected(settings.database_path) if url is None else connected_postgres(url.get_secret_value())


def probe(settings: Settings, apart: AsyncEngine) -> Probe:
    """Tells whether it can be read and written now; with connections of ``apart``, that of `connected_database`."""
    return SqliteProbe(settings.database_path) if settings.database_url is None else PostgresProbe(apart)


def cleaned(settings: Settings, background: Background) -> AbstractAsyncContextManager[None]:
    """Take what was deleted out of its files, while the context lasts, where that is ours to do."""
    if settings.database_url is None:
        return emptying(settings.database_path, background)
    return nullcontext()
