"""Whether what a person approved is done once: by many processes at once, and wherever one of them is killed.

    PYTHONPATH=. .venv/bin/python -m benchmarks.approvals [--seeds 200] [--killed 10] [--stride 9] [--rounds 5]

First, 200 requests on four processes approve the same call, on SQLite, PostgreSQL and Valkey: one does it, all others are refused.
Runs that follow from a seed do the same on each of these stores as in memory. Then every moment before and after each write and each effect is looked at, of runs that follow from a seed: from the files that a
process would leave behind if it were killed there, the next one shows what is parked, leaves it alone, and brings the rest to its
end. At last processes are killed indeed, on each store, at every ``stride``-th moment of some of the runs, beginning at the seed.

Prints tables in Markdown. Exit code 1 if something was done twice or is lost.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import async_sessionmaker

from backend.agents.agent import Agent, Agents
from backend.agents.errors import AlreadyDecidedError
from backend.agents.gate import ApprovalDecision, ConfirmationGate
from backend.agents.in_memory import InMemoryConfirmationStore, InMemoryRunStore
from backend.agents.runner import AgentRunner
from backend.agents.tools import Execution, tool
from backend.database.audit import commit_audit_event
from backend.database.confirmations import SqlConfirmationStore
from backend.database.engine import make_engine, open_and_migrate_sqlite
from backend.database.postgres import make_postgres_engine
from backend.database.runs import SqlRunStore
from backend.database.transactions import get_transaction_runner
from backend.database.valkey_confirmations import ValkeyConfirmationStore
from backend.tests.fakes import postgres, stories, valkey
from backend.tests.fakes.agents import ANN, whole
from backend.tests.fakes.children import fork, in_child
from backend.tests.fakes.mortal import Images, Left, Place, TurnModel, killed_at, live, live_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from sqlalchemy.ext.asyncio import AsyncEngine

PROCESSES: Final = 4
REQUESTS: Final = 50
"""Of each process, at once."""
_LONGEST: Final = 3600
"""Seconds that a process has for its share of all moments."""
_MOST_MOMENTS: Final = 1000


class Kind(NamedTuple):
    """A kind of store.

    Attributes:
        database: The path of a file, or a URL.
        valkey: The URL of a server that keeps confirmations in its stead.
    """

    name: str
    database: str
    valkey: str | None = None


@asynccontextmanager
async def application(kind: Kind, effects: Path) -> AsyncIterator[AgentRunner]:
    """An application whose tool adds a line to ``effects``."""

    async def delete(number: int, execution: Execution) -> str:
        """Delete something."""
        with effects.open("a") as file:
            file.write(f"{number}-{execution.key}\n")
        return "deleted"

    agents = Agents([Agent("clerk", "chat_agent", "You help.", (tool(delete, risk="dangerous"),))])
    engine = _engine(kind.database)
    client = Redis.from_url(kind.valkey) if kind.valkey else None
    try:
        transacting = get_transaction_runner(engine)
        stored: Any = SqlConfirmationStore(transacting)
        noting = partial(commit_audit_event, async_sessionmaker(engine))
        store = ValkeyConfirmationStore(client, noting) if client else stored
        model: Any = TurnModel([[("delete", '{"number": 7}')]])
        yield AgentRunner(agents, lambda _: model, SqlRunStore(transacting), ConfirmationGate(store, agents))
    finally:
        if client:
            await client.aclose()
        await engine.dispose()


def _engine(database: str) -> AsyncEngine:
    is_url = database.startswith("postgresql")
    return make_postgres_engine(database) if is_url else make_engine(Path(database))


def asked(kind: Kind, effects: Path) -> tuple[str, str]:
    """Begin a run that waits; the id of what it asks for, and the digest."""

    async def run() -> tuple[str, str]:
        async with application(kind, effects) as runner:
            await whole(runner.start_run(ANN, "clerk", "Go."))
            one = (await runner.gate.list_pending_confirmations(ANN))[0]
            return one.id, one.digest

    return asyncio.run(run())


def approved(kind: Kind, effects: Path, one: tuple[str, str], start: int) -> dict[str, int]:
    """Approve it many times at once, when ``start`` is closed; how often it went how, and the seconds of CPU."""

    async def once(runner: AgentRunner) -> str:
        try:
            await whole(runner.approve(ApprovalDecision(ANN, *one)))
        except AlreadyDecidedError as error:
            return str(error.http_status)
        except Exception as error:
            return repr(error)[:200]
        return "200"

    async def run() -> Counter[str]:
        async with application(kind, effects) as runner:
            await asyncio.to_thread(os.read, start, 1)
            return Counter(await asyncio.gather(*(once(runner) for _ in range(REQUESTS))))

    found = asyncio.run(run())
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {**found, "cpu_ms": int(1000 * (used.ru_utime + used.ru_stime))}


def race(kind: Kind, folder: Path, number: int) -> tuple[int, Counter[str]]:
    """Two hundred at once; how many effects, and how often it went how."""
    effects = folder / f"{kind.name}-{number}.effects"
    one = in_child(partial(asked, kind, effects))
    start, gun = os.pipe()
    work = partial(_in_race, gun, partial(approved, kind, effects, tuple(one), start))
    children = [fork(work) for _ in range(PROCESSES)]
    os.close(start)
    time.sleep(1)  # noqa: TID251 - whoever is late waits for nobody: all begin when this ends
    os.close(gun)
    outcomes: Counter[str] = Counter()
    for child in children:
        outcomes.update(child.result())
    return len(effects.read_text().split()), outcomes


def _in_race(gun: int, work: Any) -> Any:
    os.close(gun)
    return work()


def races(rounds: int, folder: Path) -> bool:
    """All stores, again and again. Whether each call was made once."""
    print(
        "| store | rounds | approved | refused with 409 | anything else | effects |\n|---|---|---|---|---|---|"
    )
    fine = True
    with postgres.running() as server, valkey.running() as state, server.database() as database:
        path = str(folder / "race.sqlite3")
        in_child(partial(_make, path))
        for kind in (Kind("sqlite", path), Kind("postgresql", database), Kind("valkey", path, state.url)):
            effects, outcomes = 0, Counter[str]()
            for number in range(rounds):
                had, found = race(kind, folder, number)
                effects, outcomes = effects + had, outcomes + found
            refused, done = outcomes["409"], outcomes["200"]
            other = {name: count for name, count in outcomes.items() if name not in ("200", "409", "cpu_ms")}
            print(f"| {kind.name} | {rounds} | {done} | {refused} | {other or 0} | {effects} |")
            fine = fine and effects == done == rounds and refused == rounds * (PROCESSES * REQUESTS - 1)
    return fine


def _make(path: str) -> None:
    async def run() -> None:
        async with open_and_migrate_sqlite(Path(path)):
            pass

    asyncio.run(run())


def images(seeds: int, folder: Path) -> bool:
    """Look at every moment of every seed's run on SQLite, on all processors. Whether nothing is done twice and nothing lost."""
    template = folder / "template.sqlite3"
    in_child(partial(_make, str(template)))
    workers = os.cpu_count() or 1
    children = [
        fork(partial(_imaged, range(first, seeds, workers), template, folder), seconds=_LONGEST)
        for first in range(workers)
    ]
    counts: Counter[str] = Counter()
    for child in children:
        counts.update(child.result())
    print(
        "| seeds | moments | done twice | lost | parked for a person | runs brought to their end |\n|---|---|---|---|---|---|"
    )
    _print(str(seeds), counts)
    return counts["doubled"] == counts["lost"] == 0 < counts["moments"]


def _imaged(seeds: Iterable[int], template: Path, folder: Path) -> Counter[str]:
    """Each of these runs, gone on with from what every moment of it would leave behind."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        place = _place(template, folder, f"{seed}-whole")
        taken = Images(place)
        live(seed, place, taken.take)
        for image in taken.taken:
            counts += _counted(live_on(seed, image))
        taken.discard()
    return counts


def _counted(left: Left) -> Counter[str]:
    return Counter(
        moments=1,
        doubled=left.twice,
        lost=left.lost + (left.states not in ([], ["done"])),
        parked=left.parked,
        finished=left.states == ["done"],
    )


def _print(what: str, counts: Counter[str]) -> None:
    told = ("moments", "doubled", "lost", "parked", "finished")
    print(f"| {what} | {' | '.join(str(counts[name]) for name in told)} |", flush=True)


def kills(seeds: int, stride: int, folder: Path) -> bool:
    """Kill processes on every store, at every ``stride``-th moment. Whether nothing was done twice and nothing is lost."""
    print(
        "| store | kills | done twice | lost | parked for a person | runs brought to their end |\n|---|---|---|---|---|---|"
    )
    fine = True
    template = folder / "template.sqlite3"
    with postgres.running() as server, valkey.running() as state:
        for name in ("sqlite", "postgresql", "valkey"):
            counts: Counter[str] = Counter()
            for seed in range(seeds):
                for moment in range(seed % stride, _MOST_MOMENTS, stride):
                    with ExitStack() as stack:
                        place = _place(template, folder, f"{name}-{seed}-{moment}")
                        if name == "postgresql":
                            place = place._replace(database=stack.enter_context(server.database()))
                        if name == "valkey":
                            state.client.flushall()
                            place = place._replace(valkey=state.url)
                        if not _killed(seed, place, moment):
                            break  # that was its last moment
                        counts += _counted(Left(*in_child(partial(live_on, seed, place))))
            _print(name, counts)
            fine = fine and counts["doubled"] == counts["lost"] == 0 < counts["moments"]
    return fine


def alike(seeds: int, folder: Path) -> bool:
    """Whether what a run does is the same on every store as in memory."""
    print("| store | runs | not as in memory |\n|---|---|---|")
    fine = True
    with postgres.running() as server, valkey.running() as state, server.database() as database:
        path, beside = str(folder / "stories.sqlite3"), str(folder / "beside.sqlite3")
        for each in (path, beside):
            in_child(partial(_make, each))
        for kind in (Kind("sqlite", path), Kind("postgresql", database), Kind("valkey", beside, state.url)):
            other = asyncio.run(_unlike(kind, seeds))
            print(f"| {kind.name} | {seeds} | {other} |", flush=True)
            fine = fine and not other
    return fine


async def _unlike(kind: Kind, seeds: int) -> int:
    engine, count = _engine(kind.database), 0
    client = Redis.from_url(kind.valkey) if kind.valkey else None
    transacting = get_transaction_runner(engine)
    store: Any = SqlConfirmationStore(transacting)
    if client is not None:
        store = ValkeyConfirmationStore(client, partial(commit_audit_event, async_sessionmaker(engine)))
    for seed in range(seeds):
        in_memory = await stories.told(stories.made(seed), seed)
        count += await stories.told(stories.made(seed, store, SqlRunStore(transacting)), seed) != in_memory
    if client is not None:
        await client.aclose()
    await engine.dispose()
    return count


def _place(template: Path, folder: Path, name: str) -> Place:
    path = shutil.copy(template, folder / f"{name}.sqlite3")
    return Place(str(path), folder / f"{name}.effects")


def _killed(seed: int, place: Place, moment: int) -> bool:
    child = fork(partial(live, seed, place, killed_at(moment)))
    with closing(os.fdopen(child.told)):
        return os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]) == -signal.SIGKILL


def main() -> int:
    """Run both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--killed", type=int, default=10)
    parser.add_argument("--stride", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(_warm_up())
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:  # noqa: S108
        fine = races(given.rounds, Path(folder))
        fine = alike(given.seeds, Path(folder)) and fine
        fine = images(given.seeds, Path(folder)) and fine
        return 0 if kills(given.killed, given.stride, Path(folder)) and fine else 1


async def _warm_up() -> None:
    """Import here what every child would import for itself."""
    agents = Agents([Agent("clerk", "chat_agent", "You help.")])
    model: Any = TurnModel([])
    runner = AgentRunner(
        agents, lambda _: model, InMemoryRunStore(), ConfirmationGate(InMemoryConfirmationStore(), agents)
    )
    await whole(runner.start_run(ANN, "clerk", "Go."))


if __name__ == "__main__":
    sys.exit(main())
