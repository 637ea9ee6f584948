"""Deletes old attempts, sums and runs of agents."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import delete, text

from backend.database.audit import record
from backend.database.ledger import store_errors
from backend.database.ledger_tables import DAY, ROLLUPS, first_id
from backend.database.partitions import Partitions
from backend.database.runs import prune_runs
from backend.database.usage import EPOCH, HOURS
from backend.ledger.audit import SYSTEM
from backend.ledger.usage import PrunedCounts
from backend.utils.llm.clock import Time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import date

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.background import Background
    from backend.database.ledger_tables import Rollup

CHUNK: Final = 1_000
"""Rows deleted in one transaction of SQLite, for which other writers wait some milliseconds."""
PAUSE: Final = 0.005
"""Seconds between two such transactions, in which other writers have their turn."""
AHEAD: Final = 2
"""How many days ahead partitions are created."""
EVERY: Final = 600.0
"""Seconds between two deletions by a server."""
_ANY_OLD: Final = text("SELECT 1 FROM ledger_attempts WHERE call < :call AND at < :before LIMIT 1")
_OLD: Final = text(
    "DELETE FROM ledger_attempts WHERE rowid IN (SELECT rowid FROM ledger_attempts"
    " WHERE call < :call AND at < :before ORDER BY call LIMIT :most)"
)


class RetentionDays(NamedTuple):
    """For how many days the ledger is kept.

    Attributes:
        rows: Days to keep rows of attempts; None for ever.
        sums: Days to keep sums of attempts, at least as long as their rows; None for ever.
    """

    rows: int | None = None
    sums: int | None = None


@asynccontextmanager
async def applying_retention(
    engine: AsyncEngine,
    keep: RetentionDays,
    background: Background,
    *,
    today: Callable[[], date] = lambda: datetime.now(UTC).date(),
) -> AsyncIterator[None]:
    """While the context lasts, delete what is older than ``keep`` says, and create partitions for the coming days."""
    async with background.repeating("ledger.retention", partial(_keep, engine, keep, today), every=EVERY):
        yield


async def _keep(engine: AsyncEngine, keep: RetentionDays, today: Callable[[], date]) -> None:
    day = today()
    await make_ahead(engine, day)
    if keep.rows is not None:
        sums_before = None if keep.sums is None else day - timedelta(days=keep.sums)
        await prune(engine, day - timedelta(days=keep.rows), sums_before)


async def prune(
    engine: AsyncEngine, before: date, sums_before: date | None = None, *, by: str = SYSTEM
) -> PrunedCounts:
    """Delete the rows of attempts that began before the day ``before``, sums of days before ``sums_before``, and old runs of agents.

    Args:
        engine: The engine of the database.
        before: The first day to keep, in UTC.
        sums_before: The first day whose sums to keep; by default all. Sums stay at least as long as their rows.
        by: Who asks for the deletion, for the audit trail.

    Raises:
        StoreAwayError: The database cannot be reached, or a partition is in use for long; some rows may be deleted already.
    """
    with store_errors():
        if await _is_anything_old(engine, (before - EPOCH).days):
            await _note(engine, before, by)
        rows = await _prune_rows(engine, (before - EPOCH).days)
        sums = (
            0 if sums_before is None else await _prune_sums(engine, (min(before, sums_before) - EPOCH).days)
        )
        runs = await _prune_agents(engine, (before - EPOCH).days * DAY, by)
    return PrunedCounts(rows, sums, runs)


async def make_ahead(engine: AsyncEngine, today: date) -> None:
    """Create the ledger's partitions of ``today`` and the coming days. Does nothing in SQLite."""
    if engine.dialect.name == "postgresql":
        day = (today - EPOCH).days
        await Partitions(engine).make(range(day, day + AHEAD + 1))


async def _is_anything_old(engine: AsyncEngine, before: int) -> bool:
    if engine.dialect.name == "postgresql":
        return await Partitions(engine).has_any(before)
    async with engine.connect() as connection:
        old = {"call": first_id(before * DAY), "before": before * DAY}
        return (await connection.execute(_ANY_OLD, old)).first() is not None


async def _note(engine: AsyncEngine, before: date, by: str) -> None:
    """Record the deletion in the audit trail first, so that nothing is ever missing without a reason there."""
    async with engine.begin() as connection:
        facts = {"before": before.isoformat()}
        await record(connection, "ledger.pruned", "attempts", actor=by, now=Time().now(), details=facts)


async def _prune_rows(engine: AsyncEngine, before: int) -> int:
    if engine.dialect.name == "postgresql":
        return await Partitions(engine).drop(before)
    gone = 0
    while chunk := await _prune_chunk(engine, before * DAY):
        gone += chunk
        await asyncio.sleep(PAUSE)
    return gone


async def _prune_chunk(engine: AsyncEngine, before: int) -> int:
    """Delete a chunk by the index on calls: their ids contain the time at which they began, before their attempts did."""
    async with engine.begin() as connection:
        gone = await connection.execute(_OLD, {"call": first_id(before), "before": before, "most": CHUNK})
        return gone.rowcount


async def _prune_agents(engine: AsyncEngine, before: int, by: str) -> int:
    gone = 0
    while chunk := await prune_runs(engine, before, by):
        gone += chunk
        await asyncio.sleep(PAUSE)
    return gone


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
