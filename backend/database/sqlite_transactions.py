"""Runs transactions on an SQLite database.

Writers of one process take turns, in the order in which they arrive. SQLite lets one connection write at
a time. A writer that finds the database locked tries again later, and others may overtake it. To be
fair, the writers of one process wait here for a lock in memory. In SQLite, they then wait only for other
processes, and for two short writers of their own: the budget counters, and the erasure of deleted data.
"""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy.exc import OperationalError
from typing_extensions import override

from backend.utils.llm.forks import ForkSafe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy import Connection, Engine

BUSY_SECONDS: Final = 20.0
"""For how long a writer waits for others: for those of this process, and then for those of other processes."""

T = TypeVar("T")


class WriteLockTimeoutError(OperationalError):
    """A transaction was not started, because other writers of this process held the write lock too long."""

    def __init__(self) -> None:
        super().__init__(None, None, sqlite3.OperationalError("database is locked"))


class SqliteTransactionRunner(ForkSafe):
    """A `TransactionRunner` for SQLite, with one thread for writing transactions and one for reading.

    Args:
        engine: A synchronous engine on the database.
        lock_timeout_s: The most seconds that a writer waits for other writers of this process.
    """

    def __init__(self, engine: Engine, lock_timeout_s: float = BUSY_SECONDS) -> None:
        self._engine = engine
        self._patience = lock_timeout_s
        super().__init__()

    @override
    def _begin(self) -> None:
        self._turn = asyncio.Lock()
        self._writing = ThreadPoolExecutor(1, "transactions")
        self._reading = ThreadPoolExecutor(1, "readings")

    @asynccontextmanager
    async def hold_write_lock(self) -> AsyncIterator[None]:
        """Hold this process's lock for writers while the context lasts. Must not be nested.

        Raises:
            WriteLockTimeoutError: Other writers held the lock too long.
        """
        try:
            async with asyncio.timeout(self._patience):
                await self._turn.acquire()
        except TimeoutError:
            raise WriteLockTimeoutError from None
        try:
            yield
        finally:
            self._turn.release()

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Call ``work`` with a connection in a transaction, in the writing thread, and return its result.

        Raises:
            WriteLockTimeoutError: Other writers of this process took too long.
        """
        async with self.hold_write_lock():
            return await asyncio.get_running_loop().run_in_executor(self._writing, self._run, work)

    async def run_read_only(self, work: Callable[[Connection], T]) -> T:
        """Call ``work``, which only reads, with a connection in the reading thread, and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._run, work)

    def _run(self, work: Callable[[Connection], T]) -> T:
        with self._engine.begin() as connection:
            return work(connection)

    async def close(self) -> None:
        """Wait until all running transactions have ended, and close the connections. May be called again."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._reading.shutdown()
        self._writing.shutdown()
        self._engine.dispose()
