"""Transactions as functions: each is called with a connection, and runs to its end without the event loop.

SQLite's asyncio driver passes every statement to a thread and back, which takes ten times as long as the statement itself.
Here a whole transaction is passed to a thread once.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from typing_extensions import override

from backend.database.engine import SqliteEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sqlalchemy import Connection
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


def transactions(engine: AsyncEngine) -> Transactions:
    """The transactions on the database of ``engine``, with which they end."""
    return engine.transactions if isinstance(engine, SqliteEngine) else _OnLoop(engine)


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


def sessions_on(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """Makes sessions on ``engine``. With SQLite, those that are begun, to write, take turns with all others that write."""
    return _SessionsInTurn(engine) if isinstance(engine, SqliteEngine) else async_sessionmaker(engine)


class _SessionsInTurn(async_sessionmaker[AsyncSession]):
    def __init__(self, engine: SqliteEngine) -> None:
        super().__init__(engine)
        self._transactions = engine.transactions

    @override
    def begin(self) -> Any:
        return self._begun()

    @asynccontextmanager
    async def _begun(self) -> AsyncIterator[AsyncSession]:
        async with self._transactions.turn(), super().begin() as session:
            yield session
