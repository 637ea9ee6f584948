"""The storm over four workers that share limits and outages over Valkey and their ledger in PostgreSQL, all of which fail in turn.

    PYTHONPATH=. .venv/bin/python -m benchmarks.storm_of_workers [--seed 7] [--seconds 600]    # or: make storm-workers

What calls meet at the providers is the weather of `benchmarks.storm`, which follows from the seed. In turn Valkey is killed and started
again empty, paused for ten seconds, PostgreSQL crashes and is away for ten seconds, and workers are killed and started again. Exit code 1 if one
of these does not hold:

- **Avoidable**: no call fails, nothing of its answer handed on, as long as an endpoint of its chain was never asked that would have
  answered well, and a second was left, and no budget had too little room for it; what a killed worker was doing is lost with it. Of
  each such call is printed what its endpoints have said.
- **Requests**: at most 1.1 times the minimum (see there). What one worker learns of an endpoint that is away, all know.
- **Late**: no call ends more than 0.5 s after its deadline, without what its worker was late itself.
- **Keys**, **answers**: none astray.
- **Rows**: each attempt of every call that ended is in the ledger once, and the sums are those of the rows.
- **Budgets**: no user uses more than their budget, what each used is counted, to the token, and nobody is refused who has something left
  (`benchmarks.storm_budgets` says what PostgreSQL's crash may take of that).
- **Memory** of each worker that was not killed grows by less than 5 MB from the middle to the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import text

from backend.database.ledger import make_ledger_store
from backend.database.postgres import open_and_migrate_postgres
from backend.ledger.shipper import Shipper
from backend.ledger.spool import Spool
from backend.tests.fakes.postgres import running as running_postgres
from backend.tests.fakes.valkey import running as running_valkey
from backend.utils.llm.errors import StreamInterruptedError
from backend.utils.llm.testing.patchbays import loopback_table

from .storm import MOST_LATE, MOST_MB, MOST_REQUESTS, Bound, Ended, is_avoidable, minimum
from .storm_budgets import LONGEST, NEVER, REFUSED, Away, Crash, Faults, faults, refused
from .storm_budgets import table as budgets
from .storm_weather import CHAINS, StormProvider, Weather, rows
from .storm_worker import CALLS_PER_SECOND, TASKS, THREADS, WORKERS, Place

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from backend.tests.fakes.postgres import Postgres
    from backend.tests.fakes.valkey import Valkey


SEED, SECONDS = 7, 600
AWAY_SECONDS: Final = 10.0


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
    killed: dict[int, Crash] = field(default_factory=dict)
    ended: list[Ended] = field(default_factory=list)
    grown: float = 0.0
    away: Away = NEVER

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
            *(sys.executable, "-m", "benchmarks.storm_worker", *map(str, place)),
            env={"PYTHONPATH": ".", "PATH": os.defpath},
        )

    async def _trouble(self) -> None:
        troubles: list[tuple[float, str, Callable[[], Awaitable[None]]]] = [
            (0.10, "Valkey killed, and empty", self._valkey_away),
            (0.25, "Valkey paused", self._valkey_paused),
            (0.40, "PostgreSQL crashed", self._postgres_away),
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
        begins = time.monotonic()
        await asyncio.to_thread(self.postgres.stop)
        await asyncio.sleep(AWAY_SECONDS)
        await asyncio.to_thread(self.postgres.start)
        self.away = Away(begins, time.monotonic())

    async def _kill(self, number: int) -> None:
        self._workers[number].kill()
        self.killed[number] = Crash(time.monotonic(), number)
        await self._workers[number].wait()
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
        for number in set(range(WORKERS)) - set(self.killed):
            before, after = (note["rss"] for note in self.notes(number) if "rss" in note)
            self.grown = max(self.grown, after - before)
        for note in self.all_notes():
            if "ended" in note:
                error: Exception | None = None
                if note["error"]:
                    error = (
                        InterruptedThereError()
                        if note["is_interrupted"]
                        else FailedThereError(note["error"], note["text"])
                    )
                self.ended.append(
                    Ended(
                        self.weather.deed(note["ended"]),
                        note["seconds"],
                        error,
                        note["is_wrong"],
                        note["late"],
                        refused(note["text"]),
                    )
                )


class FailedThereError(Exception):
    """What a call raised in its worker: the error's name, and its text."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(name)
        self.text = text


class InterruptedThereError(StreamInterruptedError):
    """The same, after something had been handed on."""

    def __init__(self) -> None:
        self.message = "StreamInterruptedError"


# Verdict ----------------------------------------------------------------------------------------------------------------


class Wrong(NamedTuple):
    """What is wrong in the database, once everything is shipped."""

    rows: dict[str, int]
    budgets: Faults


async def found_wrong(storm: Storm) -> Wrong:
    """Ship what is left, and look."""
    found: dict[str, list[int]] = {}
    async with open_and_migrate_postgres(storm.database) as engine:
        with Spool(storm.folder / "spool") as spool:
            await Shipper(spool, make_ledger_store(engine)).ship_remaining(300.0)
        async with engine.connect() as connection:
            for call, number in await connection.execute(text("SELECT call, number FROM ledger_attempts")):
                found.setdefault(call, []).append(number)
            summed = (
                await connection.execute(text("SELECT sum(attempts) FROM usage_by_endpoint"))
            ).scalar_one()
            ended = [note for note in storm.all_notes() if "ended" in note]
            found_faults = await faults(
                connection, storm.weather.calls, ended, storm.away, [*storm.killed.values()]
            )
    told = {note["call"]: note["attempts"] for note in storm.all_notes() if note.get("attempts")}
    wrong_rows = {
        "lost": sum(max(0, attempts - len(set(found.get(call, ())))) for call, attempts in told.items()),
        "doubled": sum(len(numbers) - len(set(numbers)) for numbers in found.values()),
        "sums": int(summed or 0) - sum(map(len, found.values())),
    }
    return Wrong(wrong_rows, found_faults)


def verdict(storm: Storm, wrong: Wrong) -> list[Bound]:
    """Every bound."""
    ended, arrived = storm.ended, storm.provider.arrived
    last = max(ended, key=lambda ended: ended.seconds - ended.deed.deadline)
    late = last.seconds - last.deed.deadline
    avoidable = avoidably_failed(storm)
    lost = storm.weather.calls - len(ended)
    least = minimum(storm) + _requests_of_lost(storm)  # type: ignore[arg-type]
    astray = sum(item.is_wrong for item in ended)
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
        Bound("rows", str(wrong.rows), "0", not any(wrong.rows.values())),
        Bound("budgets", str(wrong.budgets._asdict()), "0", not any(wrong.budgets)),
        Bound("memory of a worker, MB", f"{storm.grown:+.1f}", f"{MOST_MB}", storm.grown < MOST_MB),
    ]


def avoidably_failed(storm: Storm) -> list[Ended]:
    """The calls that failed though an endpoint of their chain would have answered that was never asked."""
    return [
        ended
        for ended in storm.ended
        if str(ended.error) not in REFUSED and is_avoidable(ended, storm, most=1)  # type: ignore[arg-type]
    ]


def _names(found: list[Ended]) -> str:
    return f"{len(found)} {', '.join(map(_named, found[:5]))}".rstrip()


def _named(one: Ended) -> str:
    return f"#{one.deed.number} {one.deed.feature} {one.deed.way} after {one.seconds:.1f} s: {one.error}"


def _requests_of_lost(storm: Storm) -> int:
    ended = {ended.deed.number for ended in storm.ended}
    return sum(times for (number, _), times in storm.provider.asked.items() if number not in ended)


async def stormed(seed: int, calls: int) -> tuple[Storm, Wrong]:
    """A storm that is over, and what it has left in the database."""
    weather = Weather(seed, calls)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        provider = stack.enter_context(StormProvider(weather))
        valkey = stack.enter_context(running_valkey())
        postgres = stack.enter_context(running_postgres(durable=True))
        database = stack.enter_context(postgres.database())
        chains = {name: list(chain) for name, chain in CHAINS.items()}
        features = rows(0, f"options.max_output_tokens = {LONGEST}")
        table = f'state_url = "{valkey.url}"\n{loopback_table(provider, chains, features + budgets(calls))}'
        (folder / "llm.toml").write_text(table, encoding="utf-8")
        storm = Storm(weather, provider, folder, database, valkey, postgres)
        await storm.go()
        storm.take_over()
        return storm, await found_wrong(storm)


def main() -> int:
    """Storm, print, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)  # what fails here is meant to
    began = time.monotonic()
    storm, wrong = asyncio.run(stormed(given.seed, given.seconds * CALLS_PER_SECOND))
    found = verdict(storm, wrong)
    outcomes = Counter("answered" if ended.error is None else str(ended.error) for ended in storm.ended)
    print(
        f"Seed {given.seed}: {len(storm.ended)} calls in {time.monotonic() - began:.0f} s; {dict(outcomes.most_common())}."
    )
    print(f"In turn: {', '.join(storm.troubles)}.\n\n| what | found | bound | |\n|---|---|---|---|")
    for bound in found:
        print(f"| {bound.name} | {bound.found} | {bound.bound} | {'holds' if bound.holds else 'BROKEN'} |")
    for call in avoidably_failed(storm):
        print(f"\n{_named(call)}: {getattr(call.error, 'text', '')}")
    return 0 if all(bound.holds for bound in found) else 1


if __name__ == "__main__":
    sys.exit(main())
