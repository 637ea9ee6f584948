"""What writing a record down costs a call, how long it keeps the event loop, and how fast the store is caught up with.

    PYTHONPATH=. .venv/bin/python -m benchmarks.ledger_spool [--rows 50000] [--store sqlite --store postgresql]

About a minute. Exit code 1 if something is dearer than what is asked for. Of an append it is the processor time of the calling
thread, the record's encoding included. While the store is caught up with, a watcher has its turn in every round of the loop, and
notes the processor time of the loop's thread since its last one.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from uuid_utils import uuid7

from backend.database.engine import open_and_migrate_sqlite
from backend.database.ledger import make_ledger_store
from backend.database.postgres import open_and_migrate_postgres
from backend.ledger.shipper import Shipper
from backend.ledger.spool import Spool
from backend.tests.fakes.postgres import running
from backend.tests.fakes.records import record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.utils.llm.ledger.record import AttemptRecord

APPEND: Final = 25.0
"""Microseconds of the calling thread."""
HELD: Final = 5.0
"""Milliseconds of the loop."""
ASKED: Final = {"sqlite": 10_000, "postgresql": 8_000}
"""Rows a second."""
TIMES: Final = 5
ROUNDS: Final = 3
"""Of which the best counts: collecting garbage is nobody's work."""


def records(count: int) -> list[AttemptRecord]:
    """Of a busy hour."""
    return [
        record(
            call=str(uuid7()),
            feature=f"feature_{number % 20}",
            user=f"user-{number % 5_000}",
            tenant=f"tenant-{number % 1_000}",
            input=number % 8_000,
        )
        for number in range(count)
    ]


def append(spool: Spool, rows: list[AttemptRecord]) -> float:
    """Microseconds an append."""
    start = time.thread_time()
    for row in rows:
        spool.append(row)
    return (time.thread_time() - start) / len(rows) * 1e6


def best_append(folder: Path, rows: list[AttemptRecord]) -> float:
    """The best of some times: what else the machine does is not an append's."""
    with Spool(folder) as spool:
        spool.open()
        return min(append(spool, rows) for _ in range(TIMES))


class Watcher:
    """The dearest turn of the loop's thread, in milliseconds of processor time."""

    dearest = 0.0

    async def watch(self) -> None:
        """Look in every round."""
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.dearest, before = max(self.dearest, (now - before) * 1e3), now


async def caught_up(
    folder: Path, engine: AsyncEngine, rows: list[AttemptRecord], *, watched: bool
) -> tuple[float, float]:
    """Rows a second, and the dearest turn. Watching takes all of a core, so it is done apart."""
    watcher, store = Watcher(), make_ledger_store(engine)
    with Spool(folder) as spool:
        for row in rows:
            spool.append(row)
        watching = asyncio.create_task(watcher.watch()) if watched else None
        start = time.perf_counter()
        if not await Shipper(spool, store).ship_remaining(600.0):
            raise RuntimeError("the store was away")
        seconds = time.perf_counter() - start
    if watching is not None:
        watching.cancel()
    return len(rows) / seconds, watcher.dearest


@asynccontextmanager
async def database(kind: str, folder: Path) -> AsyncIterator[AsyncEngine]:
    """A new one, whose commits are on the disk."""
    async with AsyncExitStack() as stack:
        if kind == "sqlite":
            yield await stack.enter_async_context(open_and_migrate_sqlite(folder / "ledger.sqlite3"))
        else:
            postgres = stack.enter_context(running(durable=True))
            url = stack.enter_context(postgres.database())
            yield await stack.enter_async_context(open_and_migrate_postgres(url))


async def main(rows: int, kinds: list[str]) -> int:
    """All of it; 1 if anything is dearer than it may be."""
    good, made = True, records(rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cost = best_append(folder / "append", made[:20_000])
        good &= cost <= APPEND
        print(f"append: {cost:.1f} µs of the calling thread (asked: {APPEND:.0f})")
        for kind in kinds:
            async with database(kind, folder) as engine:
                speed, _ = await caught_up(folder / kind, engine, made, watched=False)
                few = [records(rows // 10) for _ in range(ROUNDS)]
                held = min([(await caught_up(folder / kind, engine, each, watched=True))[1] for each in few])
            good &= speed >= ASKED[kind] and held <= HELD
            print(
                f"{kind}: {speed:,.0f} rows a second (asked: {ASKED[kind]:,});"
                f" the loop held for {held:.1f} ms at most (asked: {HELD:.0f})"
            )
    return 0 if good else 1


if __name__ == "__main__":
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rows", type=int, default=50_000)
    options.add_argument("--store", action="append", choices=sorted(ASKED))
    given = options.parse_args()
    sys.exit(asyncio.run(main(given.rows, given.store or list(ASKED))))
