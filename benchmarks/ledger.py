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
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psutil
from sqlalchemy import text
from uuid_utils import uuid7

from backend.database.engine import open_and_migrate_sqlite
from backend.database.ledger import make_ledger_store
from backend.database.partitions import LedgerPartitions
from backend.database.postgres import open_and_migrate_postgres
from backend.database.rollups import add_to_rollups
from backend.database.usage import EPOCH, SqlUsageStore
from backend.ledger.usage import DIMENSIONS, UsageFilter, UsagePeriod
from backend.tests.fakes.postgres import running
from backend.tests.fakes.records import DAY, NOON, record, spooled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.ledger.store import SpooledRecord
    from backend.utils.llm.ledger.record import AttemptRecord

ROWS: Final = 1_000_000
ROUNDS: Final = 7
BATCH: Final = 1_000
BATCHES: Final = 40
DAYS, FEATURES, ENDPOINTS, TENANTS, USERS = 30, 20, 8, 1_000, 5_000
FEATURE_NAMES: Final = tuple(f"feature_{number}" for number in range(FEATURES))
ENDPOINT_NAMES: Final = tuple(f"provider:model-{number}" for number in range(ENDPOINTS))


def batches(count: int) -> list[list[SpooledRecord]]:
    """Of rows as a busy process sends them: in the order of time, a few hours of one day."""
    chance = random.Random(7)  # noqa: S311 - no secret
    made = [
        _used_by(
            chance.randrange(USERS),
            call=str(uuid7()),
            at=NOON + number * 1_000,
            feature=f"feature_{chance.randrange(FEATURES)}",
            endpoint=f"provider:model-{chance.randrange(ENDPOINTS)}",
            outcome=chance.choice(["ok"] * 9 + ["failed"]),
            input=chance.randrange(8_000),
        )
        for number in range(count * BATCH)
    ]
    rows = spooled(made)
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]


def _used_by(user: int, **given: Any) -> AttemptRecord:
    """A row of the user of that number, who is always of the same tenant."""
    return record(user=f"user-{user}", tenant=f"tenant-{user % TENANTS}", **given)


async def measure_add(kind: str, engine: AsyncEngine) -> None:
    """Rows a second."""
    store, work = make_ledger_store(engine), batches(BATCHES)
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


class Mix(NamedTuple):
    """What the rows of a million are of.

    Attributes:
        noon: Of the last day, in microseconds since 1970 (UTC).
    """

    noon: int = NOON
    features: Sequence[str] = FEATURE_NAMES
    endpoints: Sequence[str] = ENDPOINT_NAMES


def _one_of(names: Sequence[str], chance: str) -> str:
    cases = " ".join(f"WHEN {number} THEN '{name}'" for number, name in enumerate(names))
    return f"CASE {chance} % {len(names)} {cases} END"


def _expressions(dialect: str, mix: Mix) -> dict[str, str]:
    """The columns of the n-th of a million rows, in SQL."""
    chance = "(random() & 1048575)" if dialect == "sqlite" else "floor(random() * 1048576)::bigint"
    user = f"CAST(n AS bigint) * 7919 % {USERS}"
    return {
        "writer": "'0193a1b2c3d47e5f8a9b0c1d2e3f4a5b'",
        "sequence": "n",
        "call": "'call-' || (1000000000 + n)",
        "number": "1",
        "at": f"{mix.noon - (DAYS - 1) * DAY - DAY // 2} + CAST(n AS bigint) * {DAYS * DAY // ROWS}",
        "duration": "840000",
        "first_byte": "310000",
        "first_token": "320000",
        "feature": _one_of(mix.features, chance),
        "profile": "'premium'",
        "endpoint": _one_of(mix.endpoints, chance),
        "served_model": "'model'",
        "request_id": "'req_8f2c'",
        "user_id": f"'user-' || ({user})",
        "tenant_id": f"'tenant-' || ({user} % {TENANTS})",
        "key_owner": f"CASE {chance} % 5 WHEN 0 THEN 'user' ELSE 'house' END",
        "outcome": f"CASE {chance} % 20 WHEN 0 THEN 'failed' ELSE 'ok' END",
        "stream": "true",
        "hedge": "false",
        "degraded": "false",
        "input": f"{chance} % 8000",
        "output": f"{chance} % 500",
        "estimated": "false",
        "cost": f"{chance} * 1000",
        "table_hash": "'f3a9'",
    }


async def fill(engine: AsyncEngine, mix: Mix = Mix()) -> None:  # noqa: B008 - it never changes
    """A million rows of ``mix``, with their roll-ups."""
    dialect = engine.dialect.name
    columns = _expressions(dialect, mix)
    numbers = {
        "sqlite": f"WITH RECURSIVE all_n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM all_n WHERE n < {ROWS})"  # noqa: S608
        " SELECT {} FROM all_n",
        "postgresql": f"SELECT {{}} FROM generate_series(1, {ROWS}) AS all_n(n)",  # noqa: S608
    }[dialect]
    if dialect == "postgresql":
        await LedgerPartitions(engine).create_missing_partitions(
            range(mix.noon // DAY - DAYS, mix.noon // DAY + 2)
        )
    async with engine.begin() as connection:
        rows = numbers.format(", ".join(columns.values()))
        await connection.execute(text(f"INSERT INTO ledger_attempts ({', '.join(columns)}) {rows}"))
        await connection.run_sync(add_to_rollups, "ledger_attempts")
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.exec_driver_sql("ANALYZE" if dialect == "sqlite" else "VACUUM ANALYZE")


async def measure_usage(kind: str, engine: AsyncEngine) -> None:
    """What is asked of a million rows, in milliseconds: the best of seven, as others are at work, too."""
    store, period = SqlUsageStore(engine), UsagePeriod.last_days(DAYS, EPOCH + timedelta(days=NOON // DAY))
    begun = time.perf_counter()
    await fill(engine)
    print(f"{kind}: a million rows and their roll-ups made in {time.perf_counter() - begun:.0f} s")
    (newest,) = await store.list_requests(limit=1)
    questions: dict[str, Callable[[], Awaitable[object]]] = {
        **{f"usage by {by}": partial(store.sum_by_dimension, by, period) for by in DIMENSIONS},
        "usage by feature of a tenant": partial(
            store.sum_by_dimension, "feature", period, UsageFilter(tenant="tenant-7")
        ),
        "usage by day of a user": partial(store.sum_by_dimension, "day", period, UsageFilter(user="user-7")),
        "the last 50 requests": store.list_requests,
        "the last 50 of a feature": partial(store.list_requests, UsageFilter(feature="feature_7")),
        "the last 50 of a user": partial(store.list_requests, UsageFilter(user="user-7")),
        "the last 50 of a tenant that failed": partial(
            store.list_requests, UsageFilter(tenant="tenant-7", outcome="failed")
        ),
        "one request": partial(store.find_request, newest.call),
    }
    for name, ask in questions.items():
        print(f"{kind}: {name}: {min([await _milliseconds(ask) for _ in range(ROUNDS)]):.1f} ms")


async def _milliseconds(ask: Callable[[], Awaitable[object]]) -> float:
    begun = time.perf_counter()
    await ask()
    return 1e3 * (time.perf_counter() - begun)


async def main(words: Sequence[str]) -> None:
    """All of it, or what ``words`` name."""
    measures = {"add": measure_add, "usage": measure_usage}
    for name, measure in measures.items():
        if not words or name in words or not measures.keys() & set(words):
            if "postgresql" not in words:
                with tempfile.TemporaryDirectory() as folder:
                    async with open_and_migrate_sqlite(Path(folder) / "ledger.sqlite3") as engine:
                        await measure("sqlite", engine)
            if "sqlite" not in words:
                with running(durable=True) as postgres, postgres.database() as url:
                    async with open_and_migrate_postgres(url) as engine:
                        await measure("postgresql", engine)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
