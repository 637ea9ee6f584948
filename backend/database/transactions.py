"""Runs a whole database transaction as one function call, in one hop to another thread.

SQLite's asyncio driver passes every statement to a thread and back, which takes ten times as long as the
statement itself. Here, a whole transaction is passed to a thread once.
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


class TransactionRunner(Protocol):
    """Runs functions in database transactions. Get the runner of an engine with `get_transaction_runner`."""

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Call ``work`` with a connection in a transaction, and return its result.

        The transaction is committed if ``work`` returns, and rolled back if it raises. If the calling task is
        cancelled, the transaction may still be committed.

        Args:
            work: A synchronous function that runs all statements of the transaction. It must not use the event
                loop.
        """
        ...

    async def run_read_only(self, work: Callable[[Connection], T]) -> T:
        """Call ``work``, which only reads, with a connection, and return its result. Never waits for writers."""
        ...


def get_transaction_runner(engine: AsyncEngine) -> TransactionRunner:
    """Return the transaction runner of ``engine``. It is closed together with the engine."""
    return engine.transactions if isinstance(engine, SqliteEngine) else _OnLoop(engine)


class _OnLoop:
    """Transactions with an asynchronous driver, on the event loop."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction with an asynchronous driver. See `TransactionRunner.run`."""
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def run_read_only(self, work: Callable[[Connection], T]) -> T:
        """See `TransactionRunner.run_read_only`."""
        return await self.run(work)


def make_session_factory(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """Make a factory of SQLAlchemy sessions for ``engine``.

    With SQLite, transactions begun with the factory's `begin` wait for the other writers of this process.
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
        async with self._transactions.hold_write_lock(), super().begin() as session:
            yield session
