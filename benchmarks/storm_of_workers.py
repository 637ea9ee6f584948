"""The storm over four workers that share limits and outages over Valkey and their ledger in PostgreSQL, all of which fail in turn.

    PYTHONPATH=. .venv/bin/python -m benchmarks.storm_of_workers [--seed 7] [--seconds 600]    # or: make storm-workers

What calls meet at the providers is the weather of `benchmarks.storm`, which follows from the seed. In turn Valkey is killed and started
again empty, paused for ten seconds, PostgreSQL is stopped for ten seconds, and workers are killed and started again. Exit code 1 if one
of these does not hold:

- **Avoidable**: no call fails, nothing of its answer handed on, as long as an endpoint of its chain was never asked that would have
  answered well, and a second was left; what a killed worker was doing is lost with it.
- **Requests**: at most 1.1 times the minimum (see there). What one worker learns of an endpoint that is away, all know.
- **Late**: no call ends more than 0.5 s after its deadline, without what its worker was late itself.
- **Keys**, **answers**: none astray.
- **Rows**: each attempt of every call that ended is in the ledger once, and the sums are those of the rows.
- **Memory** of each worker that was not killed grows by less than 5 MB from the middle to the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextvars
import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import text

from backend.database.ledger import sql_ledger
from backend.database.postgres import make_postgres_engine, opened_postgres
from backend.ledger.shipper import Shipper
from backend.ledger.spool import Spool
from backend.tests.fakes.postgres import running as running_postgres
from backend.tests.fakes.valkey import running as running_valkey
from backend.utils.llm import Caller, LLMError, Patchbay, Table, use_caller
from backend.utils.llm.errors import StreamInterruptedError
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_table

from .ledger_crash import ship
from .process import settled_rss_mb
from .storm import (
    CALL,
    MOST_LATE,
    MOST_MB,
    MOST_REQUESTS,
    SYNCHRONOUS,
    Bound,
    Ended,
    OwnLateness,
    here,
    is_avoidable,
    minimum,
    paced,
    there,
)
from .storm_weather import CHAINS, StormProvider, Weather, rows

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from backend.tests.fakes.postgres import Postgres
    from backend.tests.fakes.valkey import Valkey
    from backend.utils.llm.receipt import Attempt
    from backend.utils.llm.routing.route import Route


SEED, SECONDS, CALLS_PER_SECOND = 7, 600, 40
WORKERS, THREADS, TASKS = 4, 2, 6
AWAY_SECONDS: Final = 10.0
USER_KEYS: Final = ("openai", "gemini", "anthropic")


# A worker ---------------------------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where a worker finds everything, and which calls are its own: those from ``first`` on, each `WORKERS`-th."""

    folder: str
    database: str
    seed: int
    calls: int
    first: int

    @property
    def notes(self) -> Path:
        """What it has done, a line of JSON for each call that began or ended."""
        return Path(self.folder, "notes", f"{self.first % WORKERS}")


@dataclass
class Worker:
    """Makes its calls, and notes each."""

    place: Place
    ids: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Of each call under way: its id, and how many attempts it has had."""

    def __post_init__(self) -> None:
        self.weather = Weather(self.place.seed, self.place.calls)
        self._notes = os.open(self.place.notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._lateness = OwnLateness()

    def note(self, **what: Any) -> None:
        """Write a line."""
        os.write(self._notes, f"{json.dumps(what)}\n".encode())

    def _observe(self, route: Route, _: Attempt) -> None:
        number = CALL.get()
        self.ids[number] = route.call_id or "", self.ids.get(number, ("", 0))[1] + 1

    async def work(self) -> None:
        """Make them all, then ship what is left."""
        engine = make_postgres_engine(self.place.database)
        over = asyncio.Event()
        with Spool(Path(self.place.folder, "spool")) as spool:
            table = Table(Path(self.place.folder, "llm.toml"), environ=HOUSE_KEYS)
            self.bay = Patchbay(table, observer=self._observe, ledger=spool)
            self.bay.warm_up()
            shipper = Shipper(spool, sql_ledger(engine))
            shipping = asyncio.create_task(ship(shipper, over))
            watching = asyncio.create_task(self._lateness.awatch())
            threading.Thread(target=self._lateness.watch, daemon=True).start()
            await self._calls()
            self._lateness.end()
            over.set()
            await asyncio.gather(watching, shipping)
            await self.bay.aclose()
            await shipper.finish(120.0)
        await engine.dispose()

    async def _calls(self) -> None:
        half = max(self.place.first, self.place.calls // 2 // WORKERS * WORKERS + self.place.first % WORKERS)
        with ThreadPoolExecutor(THREADS) as pool:
            for some in (range(self.place.first, half, WORKERS), range(half, self.place.calls, WORKERS)):
                await paced(iter(some), partial(self._conduct, pool), CALLS_PER_SECOND, THREADS + TASKS)
                self.note(rss=settled_rss_mb())

    async def _conduct(self, pool: ThreadPoolExecutor, number: int) -> None:
        deed = self.weather.deed(number)
        user = deed.user
        caller = (
            Caller()
            if user is None
            else Caller(user_id=f"user-{user}", keys={name: f"sk-user-{user}-{name}" for name in USER_KEYS})
        )
        CALL.set(deed.number)
        self.note(begun=deed.number)
        began, late, said, error = time.monotonic(), self._lateness.seconds, None, None
        with use_caller(caller):
            try:
                model = self.bay.get_llm(deed.feature)
                if deed.way in SYNCHRONOUS:
                    run = contextvars.copy_context().run
                    said = await asyncio.get_running_loop().run_in_executor(pool, run, here, model, deed)
                else:
                    said = await there(model, deed)
            except LLMError as raised:
                error = raised
        late = self._lateness.seconds - late
        call, attempts = self.ids.pop(deed.number, ("", 0))
        self.note(
            ended=deed.number,
            seconds=time.monotonic() - began - late,
            late=late,
            error=error and type(error).__name__,
            is_interrupted=isinstance(error, StreamInterruptedError),
            is_wrong=said is not None and str(deed.number) not in said,
            call=call,
            attempts=attempts,
        )


# What starts them, and what is broken around them -----------------------------------------------------------------------


@dataclass
class Storm:
    """Four workers, and what fails around them."""

    weather: Weather
    provider: StormProvider
    folder: Path
    database: str
    valkey: Valkey
    postgres: Postgres
    troubles: list[str] = field(default_factory=list)
    killed: set[int] = field(default_factory=set)
    ended: list[Ended] = field(default_factory=list)
    grown: float = 0.0

    async def go(self) -> None:
        """All of it."""
        (self.folder / "notes").mkdir()
        self._workers = [await self._start(number) for number in range(WORKERS)]
        troubling = asyncio.create_task(self._trouble())
        await asyncio.gather(*map(self._finished, range(WORKERS)))
        await troubling

    async def _finished(self, number: int) -> None:
        """Wait until that worker is done, or the one that took its place."""
        status = await self._workers[number].wait()
        while status == -signal.SIGKILL:
            status = await (await self._successor(number)).wait()
        if status:
            raise RuntimeError(f"worker {number} ended with {status}")

    async def _successor(self, number: int) -> asyncio.subprocess.Process:
        while self._workers[number].returncode is not None:  # noqa: ASYNC110 - it is about to begin
            await asyncio.sleep(0.1)
        return self._workers[number]

    async def _start(self, first: int) -> asyncio.subprocess.Process:
        place = Place(str(self.folder), self.database, self.weather.seed, self.weather.calls, first)
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.storm_of_workers", "--work", *map(str, place)),
            env={"PYTHONPATH": ".", "PATH": os.defpath},
        )

    async def _trouble(self) -> None:
        troubles: list[tuple[float, str, Callable[[], Awaitable[None]]]] = [
            (0.10, "Valkey killed, and empty", self._valkey_away),
            (0.25, "Valkey paused", self._valkey_paused),
            (0.40, "PostgreSQL stopped", self._postgres_away),
            (0.55, "a worker killed", lambda: self._kill(0)),
            (0.70, "Valkey killed, and empty", self._valkey_away),
            (0.85, "a worker killed", lambda: self._kill(1)),
        ]
        for share, name, make in troubles:
            while self.begun() < share * self.weather.calls:  # noqa: ASYNC110 - other processes write it
                await asyncio.sleep(0.2)
            self.troubles.append(name)
            await make()

    async def _valkey_away(self) -> None:
        await asyncio.to_thread(self.valkey.stop)
        await asyncio.sleep(AWAY_SECONDS / 2)
        await asyncio.to_thread(self.valkey.start)

    async def _valkey_paused(self) -> None:
        self.valkey.pause()
        await asyncio.sleep(AWAY_SECONDS)
        self.valkey.go_on()

    async def _postgres_away(self) -> None:
        await asyncio.to_thread(self.postgres.stop)
        await asyncio.sleep(AWAY_SECONDS)
        await asyncio.to_thread(self.postgres.start)

    async def _kill(self, number: int) -> None:
        self._workers[number].kill()
        await self._workers[number].wait()
        self.killed.add(number)
        begun = [note["begun"] for note in self.notes(number) if "begun" in note]
        self._workers[number] = await self._start(max(begun, default=number - WORKERS) + WORKERS)

    def begun(self) -> int:
        """How many calls have begun."""
        return sum(path.read_bytes().count(b'"begun"') for path in (self.folder / "notes").iterdir())

    def notes(self, number: int) -> Iterator[dict[str, Any]]:
        """What a worker has noted."""
        path = self.folder / "notes" / f"{number}"
        if path.exists():
            yield from map(json.loads, path.read_text().splitlines())

    def all_notes(self) -> Iterator[dict[str, Any]]:
        """Of all workers."""
        for number in range(WORKERS):
            yield from self.notes(number)

    def take_over(self) -> None:
        """Fill `ended` and `grown` with what they noted."""
        for number in set(range(WORKERS)) - self.killed:
            before, after = (note["rss"] for note in self.notes(number) if "rss" in note)
            self.grown = max(self.grown, after - before)
        for note in self.all_notes():
            if "ended" in note:
                error: Exception | None = None
                if note["error"]:
                    error = (
                        InterruptedThereError() if note["is_interrupted"] else FailedThereError(note["error"])
                    )
                self.ended.append(
                    Ended(
                        self.weather.deed(note["ended"]),
                        note["seconds"],
                        error,
                        note["is_wrong"],
                        note["late"],
                    )
                )


class FailedThereError(Exception):
    """What a call raised in its worker."""


class InterruptedThereError(StreamInterruptedError):
    """The same, after something had been handed on."""

    def __init__(self) -> None:
        self.message = "StreamInterruptedError"


# Verdict ----------------------------------------------------------------------------------------------------------------


async def rows_wrong(storm: Storm) -> dict[str, int]:
    """What is wrong with the ledger, once everything is shipped."""
    found: dict[str, list[int]] = {}
    async with opened_postgres(storm.database) as engine:
        with Spool(storm.folder / "spool") as spool:
            await Shipper(spool, sql_ledger(engine)).finish(300.0)
        async with engine.connect() as connection:
            for call, number in await connection.execute(text("SELECT call, number FROM ledger_attempts")):
                found.setdefault(call, []).append(number)
            summed = (
                await connection.execute(text("SELECT sum(attempts) FROM usage_by_endpoint"))
            ).scalar_one()
    told = {note["call"]: note["attempts"] for note in storm.all_notes() if note.get("attempts")}
    return {
        "lost": sum(max(0, attempts - len(set(found.get(call, ())))) for call, attempts in told.items()),
        "doubled": sum(len(numbers) - len(set(numbers)) for numbers in found.values()),
        "sums": int(summed or 0) - sum(map(len, found.values())),
    }


def verdict(storm: Storm, wrong: dict[str, int]) -> list[Bound]:
    """Every bound."""
    ended, arrived = storm.ended, storm.provider.arrived
    last = max(ended, key=lambda one: one.seconds - one.deed.deadline)
    late = last.seconds - last.deed.deadline
    avoidable = [one for one in ended if is_avoidable(one, storm, most=1)]  # type: ignore[arg-type]
    lost = storm.weather.calls - len(ended)
    least = minimum(storm) + _requests_of_lost(storm)  # type: ignore[arg-type]
    astray = sum(one.is_wrong for one in ended)
    return [
        Bound(
            "calls not made, or lost with a killed worker",
            str(lost),
            str(len(storm.killed) * (THREADS + TASKS)),
            lost <= len(storm.killed) * (THREADS + TASKS),
        ),
        Bound("failed, a well endpoint never asked", _names(avoidable), "0", not avoidable),
        Bound(
            "requests / minimum",
            f"{arrived} / {least} = {arrived / least:.3f}",
            f"{MOST_REQUESTS}",
            arrived <= MOST_REQUESTS * least,
        ),
        Bound(
            "latest call, seconds after its deadline",
            f"{late:.2f} {_named(last)}",
            f"{MOST_LATE}",
            late <= MOST_LATE,
        ),
        Bound("wrong keys", str(storm.provider.wrong_keys), "0", storm.provider.wrong_keys == 0),
        Bound("wrong answers", str(astray), "0", astray == 0),
        Bound("rows", str(wrong), "0", not any(wrong.values())),
        Bound("memory of a worker, MB", f"{storm.grown:+.1f}", f"{MOST_MB}", storm.grown < MOST_MB),
    ]


def _names(found: list[Ended]) -> str:
    return f"{len(found)} {', '.join(map(_named, found[:5]))}".rstrip()


def _named(one: Ended) -> str:
    return f"#{one.deed.number} {one.deed.feature} {one.deed.way} after {one.seconds:.1f} s: {one.error}"


def _requests_of_lost(storm: Storm) -> int:
    ended = {one.deed.number for one in storm.ended}
    return sum(times for (number, _), times in storm.provider.asked.items() if number not in ended)


async def stormed(seed: int, calls: int) -> tuple[Storm, dict[str, int]]:
    """A storm that is over, and what is wrong with its rows."""
    weather = Weather(seed, calls)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        provider = stack.enter_context(StormProvider(weather))
        valkey = stack.enter_context(running_valkey())
        postgres = stack.enter_context(running_postgres(durable=True))
        database = stack.enter_context(postgres.database())
        chains = {name: list(chain) for name, chain in CHAINS.items()}
        table = f'state_url = "{valkey.url}"\n{loopback_table(provider, chains, rows(0))}'
        (folder / "llm.toml").write_text(table, encoding="utf-8")
        storm = Storm(weather, provider, folder, database, valkey, postgres)
        await storm.go()
        storm.take_over()
        return storm, await rows_wrong(storm)


def main() -> int:
    """Storm, print, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--work", nargs=len(Place._fields), help=argparse.SUPPRESS)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)  # what fails here is meant to
    if given.work:
        folder, database, *numbers = given.work
        with suppress(BrokenPipeError):
            asyncio.run(Worker(Place(folder, database, *map(int, numbers))).work())
        return 0
    began = time.monotonic()
    storm, wrong = asyncio.run(stormed(given.seed, given.seconds * CALLS_PER_SECOND))
    found = verdict(storm, wrong)
    outcomes = Counter("answered" if one.error is None else str(one.error) for one in storm.ended)
    print(
        f"Seed {given.seed}: {len(storm.ended)} calls in {time.monotonic() - began:.0f} s; {dict(outcomes.most_common())}."
    )
    print(f"In turn: {', '.join(storm.troubles)}.\n\n| what | found | bound | |\n|---|---|---|---|")
    for one in found:
        print(f"| {one.name} | {one.found} | {one.bound} | {'holds' if one.holds else 'BROKEN'} |")
    return 0 if all(one.holds for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
