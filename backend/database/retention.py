"""Deletes old attempts, sums and runs of agents."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import delete, text

from backend.database.audit import record_audit_event
from backend.database.ledger import convert_store_errors
from backend.database.ledger_tables import DAY, ROLLUPS, first_id
from backend.database.partitions import LedgerPartitions
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

    from backend.background import BackgroundTaskRunner
    from backend.database.ledger_tables import RollupTable

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
    """For how many days the ledger's data are kept.

    Attributes:
        rows: Days to keep the rows of attempts; None for ever.
        sums: Days to keep the sums of attempts (roll-ups); None for ever. Never deleted before the rows.
    """

    rows: int | None = None
    sums: int | None = None


@asynccontextmanager
async def apply_retention_periodically(
    engine: AsyncEngine,
    retention_days: RetentionDays,
    background: BackgroundTaskRunner,
    *,
    today: Callable[[], date] = lambda: datetime.now(UTC).date(),
) -> AsyncIterator[None]:
    """While the context lasts, delete old data from the ledger, and create partitions for the coming days.

    Runs every ten minutes, as a background task. ``retention_days`` says for how long data are kept.
    """
    async with background.run_repeatedly(
        "ledger.retention", partial(_keep, engine, retention_days, today), interval_s=EVERY
    ):
        yield


async def _keep(engine: AsyncEngine, keep: RetentionDays, today: Callable[[], date]) -> None:
    day = today()
    await create_coming_partitions(engine, day)
    if keep.rows is not None:
        sums_before = None if keep.sums is None else day - timedelta(days=keep.sums)
        await prune_ledger(engine, day - timedelta(days=keep.rows), sums_before)


async def prune_ledger(
    engine: AsyncEngine, before: date, sums_before: date | None = None, *, actor: str = SYSTEM
) -> PrunedCounts:
    """Delete old ledger rows, old sums, and old runs of agents. The deletion is recorded in the audit trail.

    Args:
        engine: The engine of the database.
        before: The first day (UTC) to keep. Rows and agent runs of earlier days are deleted.
        sums_before: The first day whose sums are kept; None to delete no sums. If it is later than
            ``before``, ``before`` is used instead.
        actor: The user or operator who asked for the deletion; recorded in the audit trail.

    Returns:
        How many rows, sums and runs were deleted.

    Raises:
        StoreUnreachableError: The database cannot be reached, or a partition was in use too long. Some rows
            may be deleted.
    """
    with convert_store_errors():
        if await _is_anything_old(engine, (before - EPOCH).days):
            await _note(engine, before, actor)
        rows = await _prune_rows(engine, (before - EPOCH).days)
        sums = (
            0 if sums_before is None else await _prune_sums(engine, (min(before, sums_before) - EPOCH).days)
        )
        runs = await _prune_agents(engine, (before - EPOCH).days * DAY, actor)
    return PrunedCounts(rows, sums, runs)


async def create_coming_partitions(engine: AsyncEngine, today: date) -> None:
    """Create the ledger's partitions for ``today`` and the next two days. Does nothing with SQLite."""
    if engine.dialect.name == "postgresql":
        day = (today - EPOCH).days
        await LedgerPartitions(engine).create_missing_partitions(range(day, day + AHEAD + 1))


async def _is_anything_old(engine: AsyncEngine, before: int) -> bool:
    if engine.dialect.name == "postgresql":
        return await LedgerPartitions(engine).has_partition_before(before)
    async with engine.connect() as connection:
        old = {"call": first_id(before * DAY), "before": before * DAY}
        return (await connection.execute(_ANY_OLD, old)).first() is not None


async def _note(engine: AsyncEngine, before: date, by: str) -> None:
    """Record the deletion in the audit trail first, so that nothing is ever missing without a reason there."""
    async with engine.begin() as connection:
        facts = {"before": before.isoformat()}
        await record_audit_event(
            connection, "ledger.pruned", "attempts", actor=by, now=Time().now(), details=facts
        )


async def _prune_rows(engine: AsyncEngine, before: int) -> int:
    if engine.dialect.name == "postgresql":
        return await LedgerPartitions(engine).drop_partitions_before(before)
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


def _is_before(rollup: RollupTable, day: int) -> ColumnElement[bool]:
    columns = rollup.table.c
    return columns.hour < day * HOURS if "hour" in rollup.dimensions else columns.day < day
