"""Workers that are killed at random, with a store that is away meanwhile: `benchmarks.ledger_crash`, small."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import defaultdict
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING

from sqlalchemy import text

from backend.database.engine import open_and_migrate_sqlite
from backend.database.ledger import make_ledger_store
from backend.ledger.folders import list_spool_folders
from backend.ledger.shipper import Shipper
from backend.ledger.spool import Spool
from backend.tests.fakes.children import fork
from backend.tests.fakes.spools import MemoryLedgerStore
from backend.utils.llm.testing import LoopbackProvider, Status, Text
from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    from pathlib import Path

    from backend.utils.llm import Patchbay
    from backend.utils.llm.testing import Reply

OPENAI, ANTHROPIC, GEMINI = "openai:gpt-6-luna", "anthropic:claude-opus-5", "gemini:gemini-3-flash"
FEATURES = {"greet": [OPENAI, GEMINI], "part": [ANTHROPIC, OPENAI], "meet": [GEMINI, ANTHROPIC]}
NO_RETRIES = "\n".join(f"[features.{name}]\nmax_attempts = 2" for name in FEATURES)
"""A failure goes to the next endpoint at once: nothing here waits."""
WORKERS = 3


def call(bay: Patchbay, told: int) -> None:
    """Call until killed, and tell which call was answered after how many attempts."""
    for number, feature in enumerate(cycle(FEATURES)):
        model = bay.get_llm(feature)
        answer = [*model.stream("Hello?")][-1] if number % 2 else model.invoke("Hello?")
        receipt = answer.response_metadata["receipt"]
        os.write(told, f"{receipt['id']} {len(receipt['attempts'])}\n".encode())


def killed_after(answers: int, bay: Patchbay) -> dict[str, int]:
    """What a worker tells that is killed when it has told of so many answers, or while it goes on."""
    here, there = os.pipe()
    child = fork(partial(call, bay, there))
    os.close(there)
    os.close(child.told)
    with os.fdopen(here) as lines:
        seen = list(islice(lines, answers))
        os.kill(child.pid, signal.SIGKILL)
        seen += lines
    os.waitpid(child.pid, 0)
    return {call: int(attempts) for call, attempts in (line.split() for line in seen)}


async def shipped(spool: Spool, database: Path) -> tuple[dict[str, list[int]], int]:
    """The numbers of each call's attempts that a store has in the end, and how many the roll-ups count."""
    away = MemoryLedgerStore()
    away.is_away = True
    assert not await Shipper(spool, away).ship_remaining(20.0)
    found: defaultdict[str, list[int]] = defaultdict(list)
    async with open_and_migrate_sqlite(database) as engine:
        assert await Shipper(spool, make_ledger_store(engine)).ship_remaining(20.0)
        async with engine.connect() as connection:
            for each, number in await connection.execute(text("SELECT call, number FROM ledger_attempts")):
                found[each].append(number)
            summed = await connection.execute(text("SELECT sum(attempts) FROM usage_by_endpoint"))
            return found, summed.scalar_one()


def test_each_answered_call_of_workers_that_are_killed_has_its_rows_once(
    provider: LoopbackProvider, tmp_path: Path
) -> None:
    chance = random.Random(1)  # noqa: S311 - not for secrets
    replies: list[Reply] = [*[Text("Hello.")] * 4, Status(503)]
    provider.script(*replies * 200)
    with Spool(tmp_path / "ledger") as spool:
        bay = loopback_patchbay(provider, FEATURES, NO_RETRIES, ledger=spool)
        bay.warm_up()
        answered: dict[str, int] = {}
        for _ in range(WORKERS):
            answered |= killed_after(chance.randint(5, 25), bay)
        bay.close()

        found, summed = asyncio.run(shipped(spool, tmp_path / "patchbay.sqlite3"))

        assert len(answered) >= WORKERS * 5
        assert max(answered.values()) > 1
        assert {each: sorted(found[each]) for each in answered} == {
            each: list(range(1, attempts + 1)) for each, attempts in answered.items()
        }
        assert all(len(numbers) == len(set(numbers)) for numbers in found.values())
        assert summed == sum(map(len, found.values()))
        assert list_spool_folders(spool.root) == []
