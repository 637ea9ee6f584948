"""Exports all rows of the ledger for some days, in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from backend.database.ledger import store_errors
from backend.database.ledger_tables import ATTEMPTS, DAY
from backend.database.usage import EPOCH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.ledger.usage import Period

BATCH: Final = 10_000


async def exported(engine: AsyncEngine, period: Period) -> AsyncIterator[Sequence[tuple[Any, ...]]]:
    """Read all ledger rows of ``period``, in batches, of which one is in memory at a time.

    Each row is a tuple of the columns `COLUMNS`. The rows are in no order.

    Raises:
        StoreAwayError: The database cannot be reached.
    """
    since, until = ((day - EPOCH).days for day in period)
    query = select(ATTEMPTS).where(ATTEMPTS.c.at >= since * DAY, ATTEMPTS.c.at < (until + 1) * DAY)
    with store_errors():
        async with engine.connect() as connection:
            found = await connection.stream(query.execution_options(yield_per=BATCH))
            async for rows in found.partitions():
                yield [tuple(row) for row in rows]
