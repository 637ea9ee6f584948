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
from backend.database.probe import check_sqlite_integrity
from backend.database.sqlite_transactions import BUSY_SECONDS, SqliteTransactionRunner
from backend.utils.llm.forks import ForkSafe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncConnection


_SWITCHES: Final = 20
_READ_AT_START: Final = 64 * 1024 * 1024
"""Bytes up to which a database is read whole before it is used: less than a second."""


class UnusableDatabaseError(Exception):
    """The database cannot be used. The message names the database and the reason, in one line for the operator."""

    code = "unusable_database"

    def __init__(self, place: Path | str, why: str) -> None:
        super().__init__(f"The database {place} cannot be used: {why}.")


class DatabaseFileLostError(OperationalError):
    """The SQLite file was deleted or replaced while in use. What is written now would be lost."""

    def __init__(self, fault: str) -> None:
        super().__init__(None, None, sqlite3.OperationalError(fault))


class SqliteEngine(AsyncEngine):
    """An asynchronous engine on an SQLite file.

    Transactions that begin with `begin` wait for other writers of this process. Use an engine in one event
    loop only, because the lock for writers belongs to that loop.

    Args:
        engine: An engine with an asynchronous SQLite driver.
        path: The SQLite file.
    """

    def __init__(self, engine: Engine, path: Path) -> None:
        super().__init__(engine)
        self.transactions = SqliteTransactionRunner(make_sync_sqlite_engine(path))

    @override
    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        async with self.transactions.hold_write_lock(), super().begin() as connection:
            yield connection

    @override
    async def dispose(self, close: bool = True) -> None:
        try:
            await self.transactions.close()
        finally:
            await super().dispose(close)


@asynccontextmanager
async def open_and_migrate_sqlite(path: Path) -> AsyncIterator[AsyncEngine]:
    """Open an engine on the SQLite file ``path``. The file is created and its tables are migrated if needed.

    The engine is disposed of when the context ends.

    Raises:
        UnusableDatabaseError: The database cannot be created or read.
    """
    async with open_sqlite_engine(path) as engine:
        await _upgraded(engine, path)
        yield engine


@asynccontextmanager
async def open_sqlite_engine(path: Path) -> AsyncIterator[AsyncEngine]:
    """Open an engine on the SQLite file ``path``, and dispose of it when the context ends.

    No tables are created.

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
    """Make an asynchronous engine on the SQLite file ``path``. The file and its folder are created if missing.

    The caller disposes of the engine. If the file is deleted or replaced later, connecting and committing
    raise `DatabaseFileLostError`.

    Raises:
        OSError: The file cannot be created.
    """
    file = DatabaseFile.create_if_missing(path)
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


def make_sync_sqlite_engine(path: Path) -> Engine:
    """Make a synchronous engine on the SQLite file ``path``. Otherwise like `make_engine`.

    Raises:
        OSError: The file cannot be created.
    """
    file = DatabaseFile.create_if_missing(path)
    url, waits = URL.create("sqlite", database=str(path)), {"timeout": BUSY_SECONDS}
    engine = create_engine(url, hide_parameters=True, connect_args=waits)
    _watch(engine, file, _prepare)
    return engine


def make_sqlite_budget_engine(path: Path) -> Engine:
    """Make a synchronous engine on the SQLite file ``path``, for the budget counters.

    Every transaction takes the write lock at its beginning. A commit does not wait for the disk.

    Raises:
        OSError: The file cannot be created.
    """
    file = DatabaseFile.create_if_missing(path)
    engine = create_engine(
        URL.create("sqlite", database=str(path)), hide_parameters=True, connect_args={"timeout": BUSY_SECONDS}
    )
    _watch(engine, file, _prepare_counting)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _watch(engine: Engine, file: DatabaseFile, prepare: Callable[[Any], None]) -> None:
    def look(*_: object) -> None:
        if (fault := file.find_fault()) is not None:
            raise DatabaseFileLostError(fault)

    def name(_dialect: object, _record: object, arguments: list[Any], named: dict[str, Any]) -> None:
        look()
        # As a URI, so that it is not made anew.
        arguments[:], named["uri"] = [f"{file.path.as_uri()}?mode=rw"], True

    event.listen(engine, "do_connect", name)
    ForkSafeConnections(engine, prepare)
    event.listen(engine, "checkout", look)
    event.listen(engine, "commit", look)


async def _upgraded(engine: AsyncEngine, path: Path) -> None:
    try:
        await asyncio.to_thread(check_sqlite_integrity, path, _READ_AT_START)
        await upgrade(engine)
    except sqlite3.Error as error:
        raise UnusableDatabaseError(path, str(error)) from error
    except DBAPIError as error:
        raise UnusableDatabaseError(path, str(error.orig)) from error
    except CommandError as error:
        raise UnusableDatabaseError(path, "a newer version of Patchbay has made it") from error


class ForkSafeConnections(ForkSafe):
    """Makes the connection pool of an engine safe after a fork, and configures each new connection.

    A forked child process starts with an empty pool. It does not use or close the connections of its parent.
    """

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
