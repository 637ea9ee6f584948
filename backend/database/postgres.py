"""Engines on PostgreSQL."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any, Final

import psycopg
from alembic.util import CommandError
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from typing_extensions import override

from backend.database.engine import ForkSafeConnections, UnusableDatabaseError
from backend.database.migrations import upgrade
from backend.database.probe import WAIT, DatabaseProbe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import URL, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine


_DRIVER: Final = "postgresql+psycopg"
_NAMES: Final = {"postgres", "postgresql", _DRIVER}
_READ_ONLY: Final = "SELECT current_setting('transaction_read_only')::bool FROM alembic_version"
"""Whether nothing may be written, as at a standby; an error if there are no tables."""
_CONNECT: Final = 5
"""Seconds that a server has to take a connection."""


@asynccontextmanager
async def open_and_migrate_postgres(url: str) -> AsyncIterator[AsyncEngine]:
    """Open an engine on the PostgreSQL database at ``url``, and create or migrate its tables.

    The engine is disposed of when the context ends.

    Raises:
        UnusableDatabaseError: The database cannot be reached or read. The message does not contain the
            password.
    """
    async with open_postgres_engine(url) as engine:
        await _upgraded(engine)
        yield engine


@asynccontextmanager
async def open_postgres_engine(url: str) -> AsyncIterator[AsyncEngine]:
    """Open an engine on the PostgreSQL database at ``url``, and dispose of it when the context ends.

    The tables must exist.

    Raises:
        UnusableDatabaseError: ``url`` is not a PostgreSQL URL.
    """
    engine = make_postgres_engine(url)
    try:
        yield engine
    finally:
        await engine.dispose()


def make_postgres_engine(url: str) -> AsyncEngine:
    """Make an asynchronous engine on the PostgreSQL database at ``url``. The caller disposes of it.

    Raises:
        UnusableDatabaseError: ``url`` is not a PostgreSQL URL.
    """
    engine = create_async_engine(
        _parsed(url), hide_parameters=True, pool_pre_ping=True, connect_args={"connect_timeout": _CONNECT}
    )
    ForkSafeConnections(engine.sync_engine, _prepare)
    return engine


def make_postgres_budget_engine(url: str) -> Engine:
    """Make a synchronous engine on the PostgreSQL database at ``url``, for the budget counters.

    A commit does not wait for the disk, and a statement fails after five seconds.

    Raises:
        UnusableDatabaseError: ``url`` is not a PostgreSQL URL.
    """
    engine = create_engine(
        _parsed(url),
        hide_parameters=True,
        pool_pre_ping=True,
        pool_timeout=_CONNECT,
        connect_args={"connect_timeout": _CONNECT, "tcp_user_timeout": 1_000 * _CONNECT},
    )
    ForkSafeConnections(engine, _prepare_counting)
    return engine


def _prepare(connection: Any) -> None:
    with closing(connection.cursor()) as cursor:
        # That a table is there already is no news to who asked for it if it is not.
        cursor.execute("SET client_min_messages = warning")
    connection.commit()


def _prepare_counting(connection: Any) -> None:
    with closing(connection.cursor()) as cursor:
        cursor.execute("SET synchronous_commit = off")
        cursor.execute(f"SET statement_timeout = '{_CONNECT}s'")
    connection.commit()


def _parsed(url: str) -> URL:
    """Parse ``url``. Its error does not repeat the URL, which may contain a password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise UnusableDatabaseError("DATABASE_URL", "it is no URL") from None
    if parsed.drivername not in _NAMES:
        raise UnusableDatabaseError(
            "DATABASE_URL", "it has to begin with postgresql://; without one, everything is in SQLite"
        )
    return parsed.set(drivername=_DRIVER)


async def _upgraded(engine: AsyncEngine) -> None:
    place = _place(engine.url)
    try:
        await upgrade(engine)
    except DBAPIError as error:
        raise UnusableDatabaseError(place, str(error.orig).splitlines()[0]) from error
    except CommandError as error:
        raise UnusableDatabaseError(place, "a newer version of Patchbay has made it") from error


class NotificationListener:
    """Receives the notifications of one PostgreSQL channel (LISTEN), on a connection of its own.

    Raises:
        UnusableDatabaseError: ``url`` is not a PostgreSQL URL.
    """

    def __init__(self, url: str, channel: str) -> None:
        self._url = _parsed(url).set(drivername="postgresql")
        self._channel = channel
        self._connection: psycopg.AsyncConnection | None = None

    async def connect(self) -> bool:
        """Connect and start to listen. Does nothing if already connected.

        Returns:
            Whether a new connection was made. Earlier notifications may then have been missed.

        Raises:
            psycopg.Error: The server cannot be reached.
        """
        if self._connection is not None:
            return False
        address = self._url.render_as_string(hide_password=False)
        connection = await psycopg.AsyncConnection.connect(
            address, autocommit=True, connect_timeout=_CONNECT, tcp_user_timeout=1_000 * _CONNECT
        )
        try:
            await connection.execute(
                psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(self._channel))
            )
        except BaseException:
            await connection.close()
            raise
        self._connection = connection
        return True

    async def receive_notifications(self, seconds: float) -> AsyncIterator[str]:
        """Yield the payload of each notification that arrives within ``seconds``, then check the connection.

        Raises:
            psycopg.Error: The connection was lost; it is closed then.
        """
        assert self._connection is not None  # noqa: S101 - it was opened
        try:
            async for notified in self._connection.notifies(timeout=seconds):
                yield notified.payload
            await self._connection.execute("SELECT 1")  # a connection that is dead says nothing, either
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the connection, and stop listening."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


class PostgresProbe(DatabaseProbe):
    """Checks whether PostgreSQL can be read and written.

    Args:
        engine: An engine that only this probe uses, so that its connection is always free.
        timeout_s: The most seconds that a check takes.
    """

    def __init__(self, engine: AsyncEngine, *, timeout_s: float = WAIT) -> None:
        super().__init__(timeout_s=timeout_s)
        self._engine = engine
        self._timeout = timeout_s / 2

    @override
    async def _ask(self) -> str | None:
        try:
            # Before nobody waits any more, so that no question is left behind.
            async with asyncio.timeout(self._timeout), self._engine.connect() as connection:
                found = await connection.exec_driver_sql(_READ_ONLY)
                return "database_read_only" if found.scalar_one() else None
        except TimeoutError:
            return "database_slow"
        except (SQLAlchemyError, psycopg.Error, OSError):
            return "database_unavailable"


def _place(url: URL) -> str:
    """``url`` without password and without parameters, which may contain one."""
    return url.set(query={}).render_as_string(hide_password=True)
