"""Transactions run to their end in a thread, and who reads does not wait for who writes."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from sqlalchemy import text

from backend.access import Owner
from backend.database.confirmations import SqlConfirmationStore
from backend.database.runs import SqlRunStore

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from backend.database.transactions import Transactions

ANN = Owner("ann")


async def test_agents_read_while_somebody_waits_to_write(sqlite_transactions: Transactions) -> None:
    """One who waits for SQLite's lock waits for up to 20 seconds."""
    has_begun, may_end = threading.Event(), threading.Event()

    def waits(_: Connection) -> bool:
        has_begun.set()
        return may_end.wait(60)

    writing = asyncio.ensure_future(sqlite_transactions.run(waits))
    try:
        await asyncio.to_thread(has_begun.wait)
        assert await SqlRunStore(sqlite_transactions).recent(ANN, 5) == []
        assert await SqlConfirmationStore(sqlite_transactions).open(ANN, 5) == []
        assert not writing.done()
    finally:
        may_end.set()
    assert await writing


async def test_what_was_written_is_read(sqlite_transactions: Transactions) -> None:
    counted = text("SELECT number FROM access_changes")
    await sqlite_transactions.run(
        lambda connection: connection.execute(text("UPDATE access_changes SET number = number + 1"))
    )

    assert await sqlite_transactions.read(lambda connection: connection.scalar(counted)) == 1
