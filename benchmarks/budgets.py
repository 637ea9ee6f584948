"""What it costs to set aside of a budget, and to settle: in memory, in SQLite and in PostgreSQL.

    PYTHONPATH=. .venv/bin/python -m benchmarks.budgets

Some seconds. Processor time of this process, for a request that counts for two budgets, by one thread; and for a thousand at once,
by eight. Exit code 1 if one is dearer than what is asked for.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

from backend.database.budgets import make_budget_store
from backend.database.engine import open_and_migrate_sqlite
from backend.tests.fakes.budgets import charge, reservation, window
from backend.tests.fakes.postgres import running
from backend.utils.llm.state.budget_store import MemoryBudgets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.utils.llm.state.budget_store import BudgetStore

MOST: Final = 3.0
"""Milliseconds a request."""
REQUESTS: Final = 1_000
_CHARGES: Final = (
    charge(window("chat", budget="features")._replace(per="feature"), 1, 10**9),
    charge(window("ann"), 1, 10**9),
)


def request(store: BudgetStore) -> None:
    """One that counts for two budgets."""
    store.reserve(held := reservation(*_CHARGES))
    store.settle(held, [1, 1])


def milliseconds(store: BudgetStore, threads: int) -> float:
    """Processor time of a request, while ``threads`` do so."""
    request(store)
    began = time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(request, [store] * REQUESTS))
    store.known()
    return 1_000 * (time.process_time() - began) / REQUESTS


@contextmanager
def in_sqlite() -> Iterator[BudgetStore]:
    """Counters in a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "patchbay.sqlite3"

        async def made() -> None:
            async with open_and_migrate_sqlite(path):
                pass

        asyncio.run(made())
        with closing(make_budget_store(path, None)) as store:
            yield store


@contextmanager
def in_postgres() -> Iterator[BudgetStore]:
    """Counters on a server, whose own time is not counted."""
    with (
        running() as server,
        server.database() as url,
        closing(make_budget_store(Path(), SecretStr(url))) as store,
    ):
        yield store


def main() -> int:
    """Print what each takes. 1 if one takes too long."""
    with in_sqlite() as sqlite, in_postgres() as postgres:
        stores = {"memory": MemoryBudgets(time.monotonic), "sqlite": sqlite, "postgresql": postgres}
        took = {
            f"{name}, {threads} at once": milliseconds(store, threads)
            for name, store in stores.items()
            for threads in (1, 8)
        }
    for name, found in took.items():
        sys.stdout.write(f"{name:24} {found:6.3f} ms of {MOST:g} ms{'  TOO LONG' if found > MOST else ''}\n")
    return int(max(took.values()) > MOST)


if __name__ == "__main__":
    sys.exit(main())
