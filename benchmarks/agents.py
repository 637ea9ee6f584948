"""What a turn of an agent costs beside its model, how long a list of what waits takes, and an import.

    PYTHONPATH=. .venv/bin/python -m benchmarks.agents

Seconds of CPU of this process. The loop is measured without storage, then with SQLite and the audit trail; the model follows a script,
and what it takes by itself is measured in the same process and taken off. The list is of 50 among 100,000 that wait, on each store.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import HumanMessage, SystemMessage
from redis.asyncio import Redis
from sqlalchemy import insert

from backend.agents.confirmations import LIFETIME, Confirmation
from backend.database.agent_tables import CONFIRMATIONS
from backend.database.confirmations import SqlConfirmationStore
from backend.database.engine import open_and_migrate_sqlite
from backend.database.postgres import open_postgres_engine
from backend.database.runs import SqlRunStore
from backend.database.transactions import get_transaction_runner
from backend.database.valkey_confirmations import ValkeyConfirmationStore
from backend.tests.fakes import postgres, valkey
from backend.tests.fakes.agents import NOON, World, wants

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.agents.confirmations import ConfirmationStore

BATCHES: Final = 20
RUNS: Final = 20
"""Of a batch."""
TURNS: Final = 5
WAITING: Final = 100_000
SHOWN: Final = 50
_IMPORT: Final = (
    "import langchain_core.messages, pydantic, backend.utils.llm.errors, time; a = time.process_time(); "
    "import backend.agents.runner, backend.agents.gate; print(time.process_time() - a)"
)


def script() -> list[Any]:
    """Four turns that call a tool, and one that answers."""
    return [*(wants(("search", {"words": str(turn)})) for turn in range(TURNS - 1)), "Done."]


async def per_turn(**stores: Any) -> float:
    """Milliseconds of CPU of a turn, the model's own taken off. Of the quietest batch: others share the processors."""
    found = [await _batch(**stores) for _ in range(BATCHES)]
    return 1000 * (min(whole for whole, _ in found) - min(own for _, own in found)) / (RUNS * TURNS)


async def _batch(**stores: Any) -> tuple[float, float]:
    """Seconds of CPU of some runs, and of their models by themselves."""
    worlds = [World(script(), **stores) for _ in range(RUNS)]
    began = time.process_time()
    for world in worlds:
        await world.say(conversation=None)
    return time.process_time() - began, await _models_own()


async def _models_own() -> float:
    worlds = [World(script()) for _ in range(RUNS)]
    messages = [SystemMessage("You help."), HumanMessage("Do it.")]
    models = [
        world.model.bind_tools([tool.to_function_definition() for tool in world.effects.tools])
        for world in worlds
    ]
    began = time.process_time()
    for model in models:
        for _ in range(TURNS):
            async for _chunk in model.astream(messages):
                pass
    return time.process_time() - began


async def listed(store: ConfirmationStore) -> float:
    """Milliseconds, by the clock, to list what waits for one user: the quickest of fifty, for others share the processors."""
    world = World(confirmations=store)
    took = []
    for _ in range(50):
        began = time.perf_counter()
        found = await world.pending()
        took.append(time.perf_counter() - began)
        if len(found) != SHOWN:
            raise SystemExit(f"{len(found)} were listed")
    return 1000 * min(took)


async def listed_in(engine: AsyncEngine) -> float:
    """Of `WAITING` that wait in this database."""
    async with engine.begin() as connection:
        await connection.execute(
            insert(CONFIRMATIONS), [confirmation._asdict() for confirmation in all_waiting()]
        )
    transacting = get_transaction_runner(engine)
    return await listed(SqlConfirmationStore(transacting))


async def listed_in_valkey(url: str) -> float:
    """Of `WAITING` that wait in this server."""

    async def note(*_: Any, **__: Any) -> None:
        """Keep no trail."""

    async with Redis.from_url(url) as client:
        store = ValkeyConfirmationStore(client, note)
        for several in batched(all_waiting(), 100):
            await asyncio.gather(*map(store.add, several))
        return await listed(store)


def batched(all_of_them: Iterator[Confirmation], size: int) -> Iterator[list[Confirmation]]:
    """So many at a time."""
    while several := list(islice(all_of_them, size)):
        yield several


def all_waiting() -> Iterator[Confirmation]:
    """Those of 2,000 users, and some more of Ann's."""
    for number in range(WAITING):
        yield _waiting(number, f"user-{number % 2_000}")
    for number in range(WAITING, WAITING + 60):
        yield _waiting(number, "ann")


def _waiting(number: int, user: str) -> Confirmation:
    return Confirmation(
        id=f"{number:032x}",
        tenant_id="acme",
        user_id=user,
        agent="clerk",
        run=f"run-{number}",
        call="1.0",
        number=0,
        tool="delete",
        title="Delete",
        risk="dangerous",
        definition="d",
        terms="dangerous/ask",
        arguments='{"number":7}',
        digest="x",
        asked_at=NOON,
        expires_at=NOON + LIFETIME,
    )


async def measured(folder: Path) -> tuple[float, float, float]:
    """A turn without storage, one with it, and a list."""
    async with open_and_migrate_sqlite(folder / "agents.sqlite3") as engine:
        transacting = get_transaction_runner(engine)
        stores = {"confirmations": SqlConfirmationStore(transacting), "runs": SqlRunStore(transacting)}
        return await per_turn(), await per_turn(**stores), await listed_in(engine)


async def measured_in_postgres(url: str) -> float:
    """A list."""
    async with open_postgres_engine(url) as engine:
        return await listed_in(engine)


def main() -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:  # noqa: S108
        alone, kept, took = asyncio.run(measured(Path(folder)))
    with postgres.running() as server, server.database() as database:
        in_postgres = asyncio.run(measured_in_postgres(database))
    with valkey.running() as state:
        in_valkey = asyncio.run(listed_in_valkey(state.url))
    imported = subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, check=True, text=True)  # noqa: S603
    print("| what | measured |\n|---|---|")
    print(f"| a turn of the loop, CPU | {alone:.2f} ms |")
    print(f"| the same with SQLite and the audit trail | {kept:.2f} ms |")
    for name, milliseconds in (("SQLite", took), ("PostgreSQL", in_postgres), ("Valkey", in_valkey)):
        print(f"| {SHOWN} of {WAITING:,} that wait in {name}, by the clock | {milliseconds:.2f} ms |")
    print(f"| import beyond langchain-core and pydantic, CPU | {1000 * float(imported.stdout):.0f} ms |")


if __name__ == "__main__":
    main()
