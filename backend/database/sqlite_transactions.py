"""Runs transactions on an SQLite database. Writers of this process take turns, in order of arrival.

SQLite lets one write at a time, and knows no order: whoever finds it busy asks again after a while, and others may
come first. So writers of one process wait for each other here, and meet in SQLite only those of other processes, and
two
of their own that are short: the counters of budgets, which do not wait for the disk, and who erases what was deleted.
"""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy.exc import OperationalError
from typing_extensions import override

from backend.utils.llm.forks import PerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy import Connection, Engine

BUSY_SECONDS: Final = 20.0
"""For how long a writer waits for others: for those of this process, and then for those of other processes."""

T = TypeVar("T")


class BusyDatabaseError(OperationalError):
    """A transaction waited too long for other writes of this process, and gave up."""

    def __init__(self) -> None:
        super().__init__(None, None, sqlite3.OperationalError("database is locked"))


class SqliteTransactions(PerProcess):
    """`Transactions` in two threads: one for writing, which SQLite serializes anyway, and one for reading.

    Args:
        engine: A blocking engine on the database.
        patience: The seconds for which a writer waits for its turn.
    """

    def __init__(self, engine: Engine, patience: float = BUSY_SECONDS) -> None:
        self._engine = engine
        self._patience = patience
        super().__init__()

    @override
    def _begin(self) -> None:
        self._turn = asyncio.Lock()
        self._writing = ThreadPoolExecutor(1, "transactions")
        self._reading = ThreadPoolExecutor(1, "readings")

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until no other task of this process writes, and keep others from writing while the context lasts.

        Must not be nested.

        Raises:
            BusyDatabaseError: Others took too long.
        """
        try:
            async with asyncio.timeout(self._patience):
                await self._turn.acquire()
        except TimeoutError:
            raise BusyDatabaseError from None
        try:
            yield
        finally:
            self._turn.release()

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction in the thread for writing, when it is its turn. See `Transactions.run`."""
        async with self.turn():
            return await asyncio.get_running_loop().run_in_executor(self._writing, self._run, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work``, which only reads, in the thread for reading. See `Transactions.read`."""
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._run, work)

    def _run(self, work: Callable[[Connection], T]) -> T:
        with self._engine.begin() as connection:
            return work(connection)

    async def close(self) -> None:
        """Wait for the transactions that have begun, and close the connections. Does nothing when called again."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._reading.shutdown()
        self._writing.shutdown()
        self._engine.dispose()
