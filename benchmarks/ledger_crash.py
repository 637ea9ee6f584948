"""Whether every answered call has its rows in the ledger exactly once, when workers are killed and the database is away.

    PYTHONPATH=. .venv/bin/python -m benchmarks.ledger_crash [--calls 20000] [--kills 40] [--away 60] [--failing 0.05] …

Four workers, each a process with a facade, a spool and a shipper, call a provider that runs here and fails one request in twenty,
or another part: if it is none, no call may fail.
They are killed at random, by SIGKILL, and started again; in the midst of it PostgreSQL is stopped for ``--away`` seconds. A
worker writes down the id of each call whose answer it was handed, with the number of its attempts, and nothing else tells what
has to be in the store.

Prints a table in Markdown, in some minutes. Exit code 1 if a row is missing, or is there twice, or the roll-ups have another sum.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import text
from typing_extensions import override

from backend.database.engine import open_and_migrate_sqlite, open_sqlite_engine
from backend.database.ledger import make_ledger_store
from backend.database.postgres import make_postgres_engine, open_and_migrate_postgres
from backend.ledger.folders import total_bytes
from backend.ledger.shipper import EVERY_SECONDS, Shipper
from backend.ledger.spool import Spool
from backend.tests.fakes.postgres import running
from backend.utils.llm import Patchbay, Table, get_llm, use
from backend.utils.llm.testing import LoopbackProvider, Status, Text
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.tests.fakes.postgres import Postgres
    from backend.utils.llm.testing import Reply
    from backend.utils.llm.testing.transmission import ReplyContext

WORKERS: Final = 4
AT_ONCE: Final = 8
"""Calls of each worker."""
FEATURES: Final = {
    "greet": "openai:gpt-6-luna",
    "part": "anthropic:claude-opus-5",
    "meet": "gemini:gemini-3-flash",
}
FAILED: Final = "failed"
"""Stands in the place of the id of a call that has failed."""
STOP_SECONDS: Final = 120.0
"""How long a worker may take to ship what is left when it is stopped."""


class Provider(LoopbackProvider):
    """Answers at once, and fails now and then."""

    def __init__(self, chance: random.Random, failing: float) -> None:
        super().__init__()
        self._chance = chance
        self._failing = failing

    @override
    def next_reply(self, exchange: ReplyContext) -> Reply:
        return Status(503) if self._chance.random() < self._failing else Text("Hello.")


# A worker ---------------------------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """What a worker is told: where everything is."""

    root: str
    table: str
    answers: str
    database: str


@asynccontextmanager
async def reached(database: str) -> AsyncIterator[AsyncEngine]:
    """An engine on a database that has its tables, whether it is there now or not."""
    if database.startswith("postgresql:"):
        engine = make_postgres_engine(database)
        try:
            yield engine
        finally:
            await engine.dispose()
    else:
        async with open_sqlite_engine(Path(database)) as engine:
            yield engine


async def work(place: Place) -> None:
    """Call until standard input ends, then ship what is left."""
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), over.set)
    answers = os.open(place.answers, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    async with reached(place.database) as engine:
        with Spool(Path(place.root)) as spool:
            bay = Patchbay(Table(path=Path(place.table), environ=HOUSE_KEYS), ledger=spool)
            shipper = Shipper(spool, make_ledger_store(engine))
            shipping = asyncio.create_task(ship(shipper, over))
            with use(bay):
                await asyncio.gather(*(call(answers, number, over) for number in range(AT_ONCE)))
            await bay.aclose()
            await shipping
            await shipper.ship_remaining(STOP_SECONDS)


async def ship(shipper: Shipper, over: asyncio.Event) -> None:
    """Ship now and then."""
    while not over.is_set():
        await shipper.ship()
        with suppress(TimeoutError):
            async with asyncio.timeout(EVERY_SECONDS):
                await over.wait()


async def call(answers: int, number: int, over: asyncio.Event) -> None:
    """One call after the other, every second one streamed; note each whose answer is there."""
    feature = list(FEATURES)[number % len(FEATURES)]
    while not over.is_set():
        try:
            receipt = await (streamed(feature) if number % 2 else whole(feature))
        except Exception as error:
            os.write(answers, f"{FAILED} {type(error).__name__}\n".encode())
        else:
            os.write(answers, f"{receipt['id']} {len(receipt['attempts'])}\n".encode())


async def whole(feature: str) -> dict[str, Any]:
    """The receipt of a whole answer."""
    answer = await get_llm(feature).ainvoke("Hello?")
    receipt: dict[str, Any] = answer.response_metadata["receipt"]
    return receipt


async def streamed(feature: str) -> dict[str, Any]:
    """The receipt of a streamed answer."""
    receipt: dict[str, Any] = {}
    async for chunk in get_llm(feature).astream("Hello?"):
        receipt = chunk.response_metadata.get("receipt", receipt)
    return receipt


# What starts and kills them ---------------------------------------------------------------------------------------------


class Run:
    """The workers, and what becomes of them."""

    def __init__(self, folder: Path, database: str, table: Path, chance: random.Random) -> None:
        self.root = folder / "spool"
        self._answers = folder / "answers"
        self._answers.mkdir()
        self._place = Place(str(self.root), str(table), "", database)
        self._chance = chance
        self._numbers = count()
        self.kills = 0
        self.largest = 0

    async def go(self, calls: int, kills: int, away: _Away) -> None:
        """Let them answer so many calls, killing one now and then."""
        workers = [await self._start() for _ in range(WORKERS)]
        outage: asyncio.Task[None] | None = None
        while (done := self.answered()) < calls or (outage is not None and not outage.done()):
            await asyncio.sleep(0.1)
            self.largest = max(self.largest, total_bytes(self.root))
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{done} answered, {self.kills} killed      ")
            if outage is None and done >= calls // 3:
                outage = asyncio.create_task(away.go())
            if self.kills < kills * done / calls and self.kills < kills:
                await self._kill_one(workers)
        for number, worker in enumerate(workers):
            if number % 2:
                worker.kill()
            elif worker.stdin is not None:
                worker.stdin.close()
        await asyncio.gather(*(worker.wait() for worker in workers))

    async def _kill_one(self, workers: list[asyncio.subprocess.Process]) -> None:
        number = self._chance.randrange(len(workers))
        workers[number].kill()
        await workers[number].wait()
        workers[number] = await self._start()
        self.kills += 1

    async def _start(self) -> asyncio.subprocess.Process:
        place = self._place._replace(answers=str(self._answers / f"{next(self._numbers)}"))
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "benchmarks.ledger_crash", "--work", *place),
            stdin=asyncio.subprocess.PIPE,
            env={"PYTHONPATH": "."},
        )

    def answered(self) -> int:
        """How many calls were answered."""
        return sum(path.read_bytes().count(b"\n") for path in self._answers.iterdir())

    def attempts(self) -> dict[str, int]:
        """How many attempts each answered call had."""
        return {call: int(attempts) for call, attempts in self._told() if call != FAILED}

    def failures(self) -> list[str]:
        """What calls failed with."""
        return [error for call, error in self._told() if call == FAILED]

    def _told(self) -> list[list[str]]:
        lines = (line for path in self._answers.iterdir() for line in path.read_text().split("\n")[:-1])
        return [line.split() for line in lines]


class _Away:
    """An outage of the database."""

    def __init__(self, postgres: Postgres | None, seconds: float) -> None:
        self._postgres = postgres
        self._seconds = seconds

    async def go(self) -> None:
        if self._postgres is not None and self._seconds:
            await asyncio.to_thread(self._postgres.stop)
            await asyncio.sleep(self._seconds)
            await asyncio.to_thread(self._postgres.start)


class Verdict(NamedTuple):
    """What came of it."""

    figures: dict[str, object]
    is_good: bool


async def judge(run: Run, engine: AsyncEngine, failing: float) -> Verdict:
    """Ship what killed workers left, and look at what is in the store."""
    with Spool(run.root) as spool:
        shipper, began = Shipper(spool, make_ledger_store(engine)), time.perf_counter()
        shipped = await shipper.ship_remaining(600.0)
        seconds = time.perf_counter() - began
    found: defaultdict[str, list[int]] = defaultdict(list)
    async with engine.connect() as connection:
        for call_id, number in await connection.execute(text("SELECT call, number FROM ledger_attempts")):
            found[call_id].append(number)
        summed = (await connection.execute(text("SELECT sum(attempts) FROM usage_by_endpoint"))).scalar_one()
    answered = run.attempts()
    rows = sum(map(len, found.values()))
    failures = run.failures()
    wrong = {
        "calls that failed though the provider never did": 0 if failing else len(failures),
        "answered calls that miss a row": sum(
            not set(range(1, attempts + 1)) <= set(found[each]) for each, attempts in answered.items()
        ),
        "rows that are there twice": sum(len(numbers) - len(set(numbers)) for numbers in found.values()),
        "rows too many in roll-ups": int(summed) - rows,
        "folders left": len([path for path in run.root.iterdir() if path.is_dir()]),
        "not shipped": int(not shipped),
    }
    figures: dict[str, object] = {
        "calls answered": len(answered),
        "calls that failed": str(dict(Counter(failures))) if failures else 0,
        "attempts of these": sum(answered.values()),
        "rows in the store": rows,
        "rows of calls that nobody was told the answer of": sum(
            len(numbers) for each, numbers in found.items() if each not in answered
        ),
        "workers killed": run.kills + WORKERS // 2,
        "most KB in the spools": run.largest >> 10,
        "rows left for the next start, and shipped then": f"{shipper.stats.rows} in {seconds:.1f} s",
        **wrong,
    }
    return Verdict(figures, not any(wrong.values()))


async def trial(kind: str, given: argparse.Namespace) -> Verdict:
    """One run."""
    chance = random.Random(given.seed)  # noqa: S311 - not for secrets
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        provider = stack.enter_context(Provider(chance, given.failing))
        table = folder / "llm.toml"
        table.write_text(loopback_table(provider, FEATURES))
        if kind == "sqlite":
            database, postgres = str(folder / "ledger.sqlite3"), None
            engine = await stack.enter_async_context(open_and_migrate_sqlite(Path(database)))
        else:
            postgres = stack.enter_context(running(durable=True))
            database = stack.enter_context(postgres.database())
            engine = await stack.enter_async_context(open_and_migrate_postgres(database))
        run = Run(folder, database, table, chance)
        began = time.perf_counter()
        await run.go(given.calls, given.kills, _Away(postgres, given.away))
        verdict = await judge(run, engine, given.failing)
        verdict.figures["seconds"] = round(time.perf_counter() - began)
        return verdict


def main() -> int:
    """Run it; 1 if anything is missing or twice."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--calls", type=int, default=20_000)
    options.add_argument("--kills", type=int, default=40)
    options.add_argument("--away", type=float, default=60.0, help="seconds for which PostgreSQL is stopped")
    options.add_argument(
        "--failing", type=float, default=0.05, help="the part of requests that the provider fails"
    )
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--store", action="append", choices=["sqlite", "postgresql"])
    options.add_argument("--work", nargs=len(Place._fields), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.work:
        asyncio.run(work(Place(*given.work)))
        return 0
    verdicts = {kind: asyncio.run(trial(kind, given)) for kind in given.store or ["sqlite", "postgresql"]}
    print("\n\n| | " + " | ".join(verdicts) + " |\n|---|" + "---:|" * len(verdicts))
    for name in next(iter(verdicts.values())).figures:
        print(f"| {name} | " + " | ".join(str(each.figures[name]) for each in verdicts.values()) + " |")
    return 0 if all(each.is_good for each in verdicts.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
