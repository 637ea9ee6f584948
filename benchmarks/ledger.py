"""What the ledger's stores take: rows a second, and what is asked of a million of them.

    PYTHONPATH=. .venv/bin/python -m benchmarks.ledger [sqlite|postgresql] [add|usage]

Takes about two minutes. Rows are of 30 days, 20 features, 8 endpoints, 1,000 tenants and 5,000 users, in batches of 1,000 from
one shipper; commits are on the disk. Processor time is that of this process (for PostgreSQL the server's own is beside it).
The million is made by the database itself.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from backend.database.engine import opened
from backend.database.ledger import sql_ledger
from backend.database.postgres import opened_postgres
from backend.tests.fakes.postgres import running
from backend.tests.fakes.records import NOON, record, spooled
from backend.utils.llm.uuid7 import Uuid7Maker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.ledger.store import Spooled

BATCH: Final = 1_000
BATCHES: Final = 40
DAYS, FEATURES, ENDPOINTS, TENANTS, USERS = 30, 20, 8, 1_000, 5_000


@asynccontextmanager
async def databases(kinds: Sequence[str]) -> AsyncIterator[dict[str, AsyncEngine]]:
    """Those that are to be measured, empty."""
    for kind in kinds:
        if kind == "sqlite":
            with tempfile.TemporaryDirectory() as folder:
                async with opened(Path(folder) / "ledger.sqlite3") as engine:
                    yield {kind: engine}


def batches(count: int) -> list[list[Spooled]]:
    """Of rows as a busy process sends them: in the order of time, a few hours of one day."""
    chance, make = random.Random(7), Uuid7Maker()  # noqa: S311 - no secret
    made = [
        record(
            call=str(make()),
            at=NOON + number * 1_000,
            feature=f"feature_{chance.randrange(FEATURES)}",
            endpoint=f"provider:model-{chance.randrange(ENDPOINTS)}",
            tenant=f"tenant-{chance.randrange(TENANTS)}",
            user=f"user-{chance.randrange(USERS)}",
            outcome=chance.choice(["ok"] * 9 + ["failed"]),
            input=chance.randrange(8_000),
        )
        for number in range(count * BATCH)
    ]
    rows = spooled(made)
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]


async def measure_add(kind: str, engine: AsyncEngine) -> None:
    """Rows a second."""
    store, work = sql_ledger(engine), batches(BATCHES)
    await store.add(work[0])
    wall, cpu, theirs = time.perf_counter(), time.process_time(), _servers()
    for rows in work[1:]:
        await store.add(rows)
    wall, cpu, theirs = time.perf_counter() - wall, time.process_time() - cpu, _servers() - theirs
    count = (BATCHES - 1) * BATCH
    print(
        f"{kind}: {count / wall:,.0f} rows a second; {1e6 * cpu / count:.1f} µs of processor time a row"
        f" here, {1e6 * theirs / count:.1f} µs at the server"
    )


def _servers() -> float:
    """Processor seconds of PostgreSQL."""
    total = 0.0
    for process in psutil.process_iter(["name", "cpu_times"]):
        if process.info["name"] == "postgres":
            total += process.info["cpu_times"].user + process.info["cpu_times"].system
    return total


async def main(kinds: Sequence[str]) -> None:
    """All of it."""
    if "sqlite" in kinds:
        with tempfile.TemporaryDirectory() as folder:
            async with opened(Path(folder) / "ledger.sqlite3") as engine:
                await measure_add("sqlite", engine)
    if "postgresql" in kinds:
        with running(durable=True) as postgres, postgres.database() as url:
            async with opened_postgres(url) as engine:
                await measure_add("postgresql", engine)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or ["sqlite", "postgresql"]))
