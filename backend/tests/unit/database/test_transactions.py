"""Transactions run to their end in a thread, in order of arrival, and who reads does not wait for who writes."""

from __future__ import annotations

import asyncio
import threading
from itertools import count
from typing import TYPE_CHECKING, Final

import pytest
from sqlalchemy import text

from backend.access import DataOwner
from backend.database.confirmations import SqlConfirmationStore
from backend.database.engine import make_sync_sqlite_engine
from backend.database.faults import is_database_unavailable
from backend.database.runs import SqlRunStore
from backend.database.sqlite_transactions import SqliteTransactionRunner, WriteLockTimeoutError
from backend.database.transactions import get_transaction_runner, make_session_factory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.database.transactions import TransactionRunner

    from .conftest import Sessions

ANN = DataOwner("ann")
WRITERS, EACH = 16, 10
_COUNT: Final = text("UPDATE access_changes SET number = number + 1 RETURNING number")


async def test_agents_read_while_somebody_waits_to_write(sqlite_transactions: TransactionRunner) -> None:
    """One who waits for SQLite's lock waits for up to 20 seconds."""
    has_begun, may_end = threading.Event(), threading.Event()

    def waits(_: Connection) -> bool:
        has_begun.set()
        return may_end.wait(60)

    writing = asyncio.ensure_future(sqlite_transactions.run(waits))
    try:
        await asyncio.to_thread(has_begun.wait)
        assert await SqlRunStore(sqlite_transactions).list_recent_runs(ANN, 5) == []
        assert await SqlConfirmationStore(sqlite_transactions).list_open(ANN, 5) == []
        assert not writing.done()
    finally:
        may_end.set()
    assert await writing


async def test_what_was_written_is_read(sqlite_transactions: TransactionRunner) -> None:
    counted = text("SELECT number FROM access_changes")
    await sqlite_transactions.run(
        lambda connection: connection.execute(text("UPDATE access_changes SET number = number + 1"))
    )

    assert await sqlite_transactions.run_read_only(lambda connection: connection.scalar(counted)) == 1


def every_way_to_write(engine: AsyncEngine) -> list[Callable[[], Awaitable[int]]]:
    """Each counts one up, and returns the number."""
    sessions, transacting = make_session_factory(engine), get_transaction_runner(engine)

    async def in_a_session() -> int:
        async with sessions.begin() as session:
            return int(await session.scalar(_COUNT) or 0)

    async def by_the_engine() -> int:
        async with engine.begin() as connection:
            return int(await connection.scalar(_COUNT) or 0)

    async def in_the_thread() -> int:
        return await transacting.run(lambda connection: int(connection.scalar(_COUNT) or 0))

    return [in_a_session, by_the_engine, in_the_thread, in_the_thread]


async def test_sixteen_who_write_at_once_are_served_in_order_of_arrival(sqlite_sessions: Sessions) -> None:
    """In SQLite whoever comes later may be sooner, and who waits for too long is refused."""
    ways, arrivals = every_way_to_write(sqlite_sessions.kw["bind"]), count(1)

    async def write(way: Callable[[], Awaitable[int]]) -> list[tuple[int, int]]:
        return [(next(arrivals), await way()) for _ in range(EACH)]

    wrote = await asyncio.gather(*(write(ways[number % len(ways)]) for number in range(WRITERS)))

    turns = [turn for writer in wrote for turn in writer]
    assert sorted(turns) == [(number, number) for number in range(1, WRITERS * EACH + 1)]


async def test_who_is_cancelled_while_waiting_leaves_the_queue(sqlite_sessions: Sessions) -> None:
    engine = sqlite_sessions.kw["bind"]
    async with engine.begin():
        waiting = [asyncio.ensure_future(way()) for way in every_way_to_write(engine)]
        await asyncio.sleep(0)
        for task in waiting[:-1]:
            task.cancel()
        await asyncio.wait(waiting[:-1])

    assert await waiting[-1] == 1


async def test_an_engine_may_be_disposed_of_twice(sqlite_sessions: Sessions) -> None:
    engine = sqlite_sessions.kw["bind"]
    await get_transaction_runner(engine).run(lambda connection: connection.scalar(_COUNT))

    await engine.dispose()
    await engine.dispose()


async def test_an_engine_whose_disposal_is_cancelled_closes_its_connections(
    sqlite_sessions: Sessions,
) -> None:
    engine = sqlite_sessions.kw["bind"]
    has_begun, may_end = threading.Event(), threading.Event()
    async with engine.connect():
        pass
    pool = engine.pool
    assert pool.checkedin() == 1

    def waits(_: Connection) -> bool:
        has_begun.set()
        return may_end.wait(60)

    writing = asyncio.ensure_future(get_transaction_runner(engine).run(waits))
    await asyncio.to_thread(has_begun.wait)
    disposing = asyncio.ensure_future(engine.dispose())
    await asyncio.sleep(0)
    disposing.cancel()
    try:
        with pytest.raises(asyncio.CancelledError):
            await disposing
        assert pool.checkedin() == 0
    finally:
        may_end.set()
    assert await writing


async def test_who_waits_for_others_for_too_long_is_told_that_the_database_is_busy(tmp_path: Path) -> None:
    hasty = SqliteTransactionRunner(make_sync_sqlite_engine(tmp_path / "patchbay.sqlite3"), lock_timeout_s=0)
    async with hasty.hold_write_lock():
        with pytest.raises(WriteLockTimeoutError, match="database is locked") as refused:
            await hasty.run(lambda _: None)
    await hasty.run(lambda _: None)
    await hasty.close()

    assert is_database_unavailable(refused.value)
