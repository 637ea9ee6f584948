"""Engines on the embedded SQLite database."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any, Final

from alembic.util import CommandError
from sqlalchemy import URL, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from typing_extensions import override

from backend.database.file import DatabaseFile
from backend.database.migrations import upgrade
from backend.database.probe import read_whole
from backend.database.sqlite_transactions import BUSY_SECONDS, SqliteTransactions
from backend.utils.llm.forks import PerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncConnection


_SWITCHES: Final = 20
_READ_AT_START: Final = 64 * 1024 * 1024
"""Bytes up to which a database is read whole before it is used: less than a second."""


class UnusableDatabaseError(Exception):
    """The database cannot be used; the message tells the operator which and why, in one line."""

    code = "unusable_database"

    def __init__(self, place: Path | str, why: str) -> None:
        super().__init__(f"The database {place} cannot be used: {why}.")


class LostDatabaseError(OperationalError):
    """The database file was deleted or replaced: what is written would be lost."""

    def __init__(self, fault: str) -> None:
        super().__init__(None, None, sqlite3.OperationalError(fault))


class SqliteEngine(AsyncEngine):
    """An engine on an SQLite file. What it begins, to write, takes turns with its `transactions`.

    For one event loop: its writers wait for each other on a lock of that loop.

    Args:
        engine: The engine underneath, of a driver for event loops.
        path: The file.
    """

    def __init__(self, engine: Engine, path: Path) -> None:
        super().__init__(engine)
        self.transactions = SqliteTransactions(make_blocking_engine(path))

    @override
    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        async with self.transactions.turn(), super().begin() as connection:
            yield connection

    @override
    async def dispose(self, close: bool = True) -> None:
        try:
            await self.transactions.close()
        finally:
            await super().dispose(close)


@asynccontextmanager
async def opened_sqlite(path: Path) -> AsyncIterator[AsyncEngine]:
    """An engine on the SQLite database ``path``, which is created if missing, with all of its tables.

    Raises:
        UnusableDatabaseError: The database cannot be created or read.
    """
    async with connected_sqlite(path) as engine:
        await _upgraded(engine, path)
        yield engine


@asynccontextmanager
async def connected_sqlite(path: Path) -> AsyncIterator[AsyncEngine]:
    """`make_engine` as a context manager that disposes of the engine.

    Raises:
        UnusableDatabaseError: The file cannot be created.
    """
    try:
        engine = make_engine(path)
    except OSError as error:
        raise UnusableDatabaseError(path, str(error.strerror or error)) from error
    try:
        yield engine
    finally:
        await engine.dispose()


def make_engine(path: Path) -> SqliteEngine:
    """An engine on the SQLite file ``path``, which is created with its folder if missing.

    The caller disposes of the engine. It hands out no connection, and commits no transaction, while the file is
    gone or another one is in its place.

    Raises:
        OSError: The file cannot be made.
    """
    file = DatabaseFile.at(path)
    # What is stored is people's words: no error repeats them, and no log, at DEBUG either.
    logging.getLogger("aiosqlite").setLevel(logging.INFO)
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        hide_parameters=True,
        connect_args={"timeout": BUSY_SECONDS},
        pool_reset_on_return=None,  # SQLAlchemy has ended the transaction by then; to do so again costs a thread
    )
    _watch(engine.sync_engine, file, _prepare)
    return SqliteEngine(engine.sync_engine, path)


def make_blocking_engine(path: Path) -> Engine:
    """An engine like that of `make_engine`, for threads. The caller disposes of it.

    Raises:
        OSError: The file cannot be made.
    """
    file = DatabaseFile.at(path)
    url, waits = URL.create("sqlite", database=str(path)), {"timeout": BUSY_SECONDS}
    engine = create_engine(url, hide_parameters=True, connect_args=waits)
    _watch(engine, file, _prepare)
    return engine


def make_counting_engine(path: Path) -> Engine:
    """An engine for counters, for threads: its transactions write, and do not wait for the disk.

    Raises:
        OSError: The file cannot be made.
    """
    file = DatabaseFile.at(path)
    engine = create_engine(
        URL.create("sqlite", database=str(path)), hide_parameters=True, connect_args={"timeout": BUSY_SECONDS}
    )
    _watch(engine, file, _prepare_counting)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _watch(engine: Engine, file: DatabaseFile, prepare: Callable[[Any], None]) -> None:
    def look(*_: object) -> None:
        if (fault := file.fault()) is not None:
            raise LostDatabaseError(fault)

    def name(_dialect: object, _record: object, arguments: list[Any], named: dict[str, Any]) -> None:
        look()
        # As a URI, so that it is not made anew.
        arguments[:], named["uri"] = [f"{file.path.as_uri()}?mode=rw"], True

    event.listen(engine, "do_connect", name)
    Connections(engine, prepare)
    event.listen(engine, "checkout", look)
    event.listen(engine, "commit", look)


async def _upgraded(engine: AsyncEngine, path: Path) -> None:
    try:
        await asyncio.to_thread(read_whole, path, _READ_AT_START)
        await upgrade(engine)
    except sqlite3.Error as error:
        raise UnusableDatabaseError(path, str(error)) from error
    except DBAPIError as error:
        raise UnusableDatabaseError(path, str(error.orig)) from error
    except CommandError as error:
        raise UnusableDatabaseError(path, "a newer version of Patchbay has made it") from error


class Connections(PerProcess):
    """The connections of one engine, each configured when created. Not used, and not closed, after a fork."""

    def __init__(self, engine: Engine, prepare: Callable[[Any], None]) -> None:
        self._engine = engine
        self._prepare = prepare
        event.listen(self._engine, "connect", self._made)
        super().__init__()

    @override
    def _begin(self) -> None:
        self._engine.dispose(close=False)
        self._pool = self._engine.pool

    def _made(self, connection: Any, _record: object) -> None:
        self._prepare(connection)


def _prepare(connection: Any) -> None:
    with closing(connection.cursor()) as cursor:
        _use_wal(cursor)
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten: sealed keys, for one


def _prepare_counting(connection: Any) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says so
    with closing(connection.cursor()) as cursor:
        _use_wal(cursor)
        cursor.execute("PRAGMA synchronous = NORMAL")


def _use_wal(cursor: Any) -> None:
    """Switch to write-ahead logging, even while another process is switching.

    SQLite then refuses the switch at once, whatever the timeout, but it does wait for a transaction. So wait with one.
    """
    for _ in range(_SWITCHES):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("ROLLBACK")
        else:
            return
    cursor.execute("PRAGMA journal_mode = WAL")
