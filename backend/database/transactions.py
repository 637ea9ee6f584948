"""Transactions as functions: each is called with a connection, and runs to its end without the event loop.

SQLite's asyncio driver passes every statement to a thread and back, which takes ten times as long as the statement itself.
Here a whole transaction is passed to a thread once.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from typing_extensions import override

from backend.database.engine import make_blocking_engine
from backend.utils.llm.forks import PerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")


class Transactions(Protocol):
    """Runs transactions on one database."""

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction and return its result. Commits if it returns, rolls back if it raises.

        After a cancellation the outcome is unknown: the transaction may still be committed.
        """
        ...

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return the result of ``work``, which only reads. It does not wait for writing transactions."""
        ...


@asynccontextmanager
async def transactions(engine: AsyncEngine) -> AsyncIterator[Transactions]:
    """Transactions on the database of ``engine``, while the context lasts."""
    if engine.dialect.name != "sqlite":
        yield _OnLoop(engine)
        return
    threaded = _InThread(make_blocking_engine(Path(str(engine.url.database))))
    try:
        yield threaded
    finally:
        await threaded.close()


class _OnLoop:
    """Transactions with an asynchronous driver, on the event loop."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction with an asynchronous driver. See `Transactions.run`."""
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """See `Transactions.read`."""
        return await self.run(work)


class _InThread(PerProcess):
    """Transactions in threads: one thread for writes, which SQLite serializes anyway, and one for reads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        super().__init__()

    @override
    def _begin(self) -> None:
        self._thread = ThreadPoolExecutor(1, "transactions")
        self._reading = ThreadPoolExecutor(1, "readings")

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction in this database's thread. See `Transactions.run`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """See `Transactions.read`."""
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._run, work)

    def _run(self, work: Callable[[Connection], T]) -> T:
        with self._engine.begin() as connection:
            return work(connection)

    async def close(self) -> None:
        """Wait for the transactions that have begun, and close the connections."""
        await asyncio.to_thread(self._reading.shutdown)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._engine.dispose)
        self._thread.shutdown(wait=False)
