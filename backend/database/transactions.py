"""Runs a whole database transaction as one function call, in one hop to another thread.

SQLite's asyncio driver passes every statement to a thread and back, which takes ten times as long as the statement
itself.
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
    """Runs functions in transactions on one database."""

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Call ``work`` with a connection in a transaction, and return its result.

        Commits if ``work`` returns, rolls back if it raises. If the caller is cancelled, the transaction may still be
        committed.

        Args:
            work: A function with the whole transaction, which must not use the event loop.
        """
        ...

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Call ``work``, which only reads, with a connection, and return its result. Writing transactions do not delay it."""
        ...


def transactions(engine: AsyncEngine) -> Transactions:
    """Get the `Transactions` of ``engine``, which are closed with it."""
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
    """Make a session factory for ``engine``.

    With SQLite, transactions from its `begin` wait for their turn among all writers of this process.
    """
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
