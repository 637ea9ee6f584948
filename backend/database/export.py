"""Exports all rows of the ledger for some days, in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from backend.database.ledger import convert_store_errors
from backend.database.ledger_tables import ATTEMPTS, DAY
from backend.database.usage import EPOCH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.ledger.usage import UsagePeriod

BATCH: Final = 10_000


async def export_ledger_rows(
    engine: AsyncEngine, period: UsagePeriod
) -> AsyncIterator[Sequence[tuple[Any, ...]]]:
    """Read all ledger rows of the days in ``period``, in no particular order, in batches of at most 10,000.

    One batch is in memory at a time. Each row is a tuple with the values of `COLUMNS`.

    Raises:
        StoreUnreachableError: The database cannot be reached.
    """
    since, until = ((day - EPOCH).days for day in period)
    query = select(ATTEMPTS).where(ATTEMPTS.c.at >= since * DAY, ATTEMPTS.c.at < (until + 1) * DAY)
    with convert_store_errors():
        async with engine.connect() as connection:
            found = await connection.stream(query.execution_options(yield_per=BATCH))
            async for rows in found.partitions():
                yield [tuple(row) for row in rows]
