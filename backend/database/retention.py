"""What the ledger keeps, and for how long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete

from backend.database.ledger import number, store_errors
from backend.database.ledger_tables import DAY, ROLLUPS
from backend.database.partitions import Partitions
from backend.database.usage import EPOCH, HOURS
from backend.ledger.usage import Pruned

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.database.ledger_tables import Rollup

CHUNK: Final = 1_000
"""Rows that are looked at, and deleted, in one transaction of SQLite: others who write wait for some milliseconds."""
PAUSE: Final = 0.005
"""Seconds between two of them, in which others who wait have their turn."""
AHEAD: Final = 2
"""Days for which there is a partition before they begin."""


async def prune(engine: AsyncEngine, before: date, sums_before: date | None = None) -> Pruned:
    """Delete the rows of attempts that began before the day ``before``, and sums of days before ``sums_before``.

    Args:
        engine: Of the database.
        before: In UTC.
        sums_before: By default none go: they are small, and what was invoiced. Sums stay at least as long as their rows.

    Raises:
        StoreAwayError: The database is away, or a partition is in use for long. What is gone then is gone.
    """
    with store_errors():
        rows = await _prune_rows(engine, (before - EPOCH).days)
        sums = (
            0 if sums_before is None else await _prune_sums(engine, (min(before, sums_before) - EPOCH).days)
        )
    return Pruned(rows, sums)


async def make_ahead(engine: AsyncEngine, today: date) -> None:
    """Have a partition for ``today`` and those who come, so that no row waits for one; nothing in SQLite."""
    if engine.dialect.name == "postgresql":
        day = (today - EPOCH).days
        await Partitions(engine).make(range(day, day + AHEAD + 1))


async def _prune_rows(engine: AsyncEngine, before: int) -> int:
    if engine.dialect.name == "postgresql":
        return await Partitions(engine).drop(before)
    gone, last = 0, 0
    while (chunk := await _prune_chunk(engine, before, last)) is not None:
        last = chunk[0]
        gone += chunk[1]
        await asyncio.sleep(PAUSE)
    return gone


async def _prune_chunk(engine: AsyncEngine, before: int, after: int) -> tuple[int, int] | None:
    """Where the chunk ends and how many of it went; None at the end. All rows are looked at: some came late."""
    rows = f"SELECT rowid FROM ledger_attempts WHERE rowid > {after:d} ORDER BY rowid LIMIT {CHUNK}"  # noqa: S608
    async with engine.begin() as connection:
        await connection.exec_driver_sql("BEGIN IMMEDIATE")
        end = await number(connection, f"SELECT coalesce(max(rowid), 0) FROM ({rows})")  # noqa: S608
        if not end:
            return None
        gone = await connection.exec_driver_sql(
            f"DELETE FROM ledger_attempts WHERE rowid > {after:d} AND rowid <= {end} AND at < {before * DAY}"  # noqa: S608
        )
        return end, gone.rowcount


async def _prune_sums(engine: AsyncEngine, before: int) -> int:
    gone = 0
    for rollup in ROLLUPS:
        async with engine.begin() as connection:
            gone += (
                await connection.execute(delete(rollup.table).where(_is_before(rollup, before)))
            ).rowcount
    return gone


def _is_before(rollup: Rollup, day: int) -> ColumnElement[bool]:
    columns = rollup.table.c
    return columns.hour < day * HOURS if "hour" in rollup.dimensions else columns.day < day
