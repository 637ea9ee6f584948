"""Whether anything grows: an hour of a busy backend in a few minutes.

    PYTHONPATH=. .venv/bin/python -m benchmarks.soak [--calls 100000]

Ten thousand users, half of them with keys of their own, make 100,000 calls, 64 at once, of sixteen features with every
kind of selection: whole answers, streams that are read, left and cancelled, schemas, tools, from tasks and from threads.
A new version of the table is put in force twenty times. Models fail for a while, so that breakers open and close. The
provider runs in a process of its own, and checks whose key it sees; every call must have the outcome that it should.

What is remembered of users, keys and conversations has bounds. An older day's users fill it to them first, so that
what grows after that is a leak. After each tenth all calls are awaited, garbage is collected, free memory is given
back, and everything is counted. Prints a table in Markdown, in about eight minutes, and says whether it is flat: the last
third against the second. Exit code 1 if it is not, or if a call had a wrong outcome.
"""

from __future__ import annotations

import argparse
import asyncio
import contextvars
import gc
import logging
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from backend.utils.llm import Patchbay, Table, use
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.rate_limits import Limits, RateLimit
from backend.utils.llm.state.circuit_breaker import WINDOW_COUNT
from backend.utils.llm.state.health import MOST_CIRCUITS, Circuit
from backend.utils.llm.state.rate_limiter import MOST_SCOPES, MeteredScope
from backend.utils.llm.state.session_affinity import MOST_CONVERSATIONS, ContextLadderRung

from .process import descriptors, objects_of, settled_rss_mb, threads
from .soak_mix import FAULTS, HOUSE_KEYS, Deed, WrongOutcomeError, table
from .witness import Witness

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

AT_ONCE, THREADS, SAMPLES, RELOADS = 64, 4, 10, 20
SHARE_THAT_FAILS = 0.1
MOST_GROWTH, MOST_MB = 0.02, 5.0
"""Resident memory may grow by the one or by the other, whichever is more."""
MOST_SHOWN = 10
_log = logging.getLogger("benchmarks.soak")


@dataclass
class Sample:
    """What is held after so many calls."""

    calls: int
    seconds: float
    rss_mb: float
    held: dict[str, int]
    objects: Counter[str] = field(repr=False)


class Soak:
    """All calls, and what is held after each tenth of them."""

    def __init__(self, patchbay: Patchbay, witness: Witness, calls: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.samples: list[Sample] = []
        self._patchbay = patchbay
        self._witness = witness
        self._calls = calls
        self._versions = count(1)
        self._pool = ThreadPoolExecutor(THREADS)
        self._began = time.perf_counter()

    async def run(self) -> None:
        """Make all calls."""
        self._fill_up()
        step = self._calls // SAMPLES
        for first in range(0, self._calls, step):
            numbers = iter(range(first, first + step))
            async with asyncio.TaskGroup() as tasks:
                for _ in range(AT_ONCE):
                    tasks.create_task(self._work(numbers))
            await self._settle()
            self.samples.append(self._sample(first + step))
            _log.info("%s", self.samples[-1])
        self._pool.shutdown()

    async def _work(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            await self._conduct(number)
            await self._make(Deed.of(number))

    async def _make(self, deed: Deed) -> None:
        """One call; from a thread if it is synchronous."""
        try:
            if deed.is_sync:
                run = contextvars.copy_context().run
                came = await asyncio.get_running_loop().run_in_executor(self._pool, run, deed.done_here)
            else:
                came = await deed.done()
        except WrongOutcomeError as error:
            came = "wrong"
            self.wrong.append(str(error))
        self.outcomes[came] += 1

    async def _conduct(self, number: int) -> None:
        """What happens around the calls: a table is put in force, a model begins to fail, and serves again."""
        if number % (self._calls // RELOADS) == 0:
            await asyncio.to_thread(self._reload)
        step = self._calls // SAMPLES
        if number % step == step // 2:
            self._witness.fail(FAULTS[number // step % len(FAULTS)])
        if number % step == step // 2 + int(step * SHARE_THAT_FAILS):
            self._witness.fail({})

    def _reload(self) -> None:
        path = self._patchbay.table.path
        assert path is not None  # noqa: S101 - it was read from one
        path.write_text(table(self._witness.origin, next(self._versions)), encoding="utf-8")
        self._patchbay.table.reload()

    async def _settle(self) -> None:
        """Until what calls leave behind for later is done: copies, and connections that are being closed."""
        await asyncio.to_thread(self._patchbay.runtime.shadows.join, 10.0)
        gc.collect()  # finds generators that were left, which the loop then closes
        await asyncio.sleep(0.2)

    # What is held ----------------------------------------------------------------------------------------------------

    def _sample(self, calls: int) -> Sample:
        rss = settled_rss_mb()
        patchbay, runtime, traffic = self._patchbay, self._patchbay.runtime, self._patchbay.health.traffic
        held = {
            "fds": descriptors(),
            "tasks": len(asyncio.all_tasks()),
            "threads": threads(),
            "clients": len(runtime.clients),
            "models": len(patchbay._models),  # noqa: SLF001 - what is counted here has no other door
            "tickets": len(runtime.transport.tickets),
            "pools": len(runtime.transport.pools),
            "circuits": len(patchbay.health),
            "budgets": len(patchbay.health._budgets),  # noqa: SLF001
            "members": len(traffic.targets._loads),  # noqa: SLF001
            "scopes": len(traffic.rate_limiter._counts),  # noqa: SLF001
            "conversations": len(traffic.session_affinity._last),  # noqa: SLF001
            "scores": sum(len(lately.scores) for lately in traffic.quality_scores._scores.values()),  # noqa: SLF001
            "turns": len(traffic.round_robin._choices),  # noqa: SLF001
            "kinds": len(patchbay.table.snapshot.kept),
        }
        return Sample(calls, time.perf_counter() - self._began, rss, held, objects_of("backend."))

    def _fill_up(self) -> None:
        """An older day: as many users, keys and conversations as are remembered."""
        health = self._patchbay.health
        for number in range(MOST_CIRCUITS):
            circuit = Circuit("alpha:a1", f"{number:016x}")
            health.record_failure(circuit, FailureCategory.SERVER)
            for _ in range(WINDOW_COUNT):
                health.record_answer(circuit)
            health.record_failure(circuit, FailureCategory.SERVER)
        limits = Limits(requests=(RateLimit(600, "minute"),), tokens=(RateLimit(10_000_000, "day"),))
        for number in range(MOST_SCOPES):
            meter = MeteredScope(f"key alpha {number:016x}", "with the caller's key for alpha", limits)
            health.traffic.rate_limiter.count_request((meter,), 50, number, 60.0)
            health.traffic.rate_limiter.settle_request((meter,), number, 30)
        for number in range(MOST_CONVERSATIONS):
            health.traffic.session_affinity.record_rung(
                "feature context", f"conversation {number} of old", ContextLadderRung("alpha:a2", 1_000), 100
            )


# Verdict ---------------------------------------------------------------------------------------------------------------


def faults_of(samples: Sequence[Sample]) -> list[str]:
    """What is not flat: the last third against the second."""
    third = len(samples) // 3
    before, after = samples[-2 * third : -third], samples[-third:]
    found = []
    was, now = (median(sample.rss_mb for sample in part) for part in (before, after))
    if now - was > max(MOST_MB, was * MOST_GROWTH):
        found.append(f"RSS grew from {was:.1f} to {now:.1f} MB")
    for name in samples[0].held:
        most, later = (max(sample.held[name] for sample in part) for part in (before, after))
        if later > most + _SLACK.get(name, 0):
            found.append(f"{name} grew from {most} to {later}")
    return found


_SLACK = {"fds": 16, "models": 1024, "kinds": 1000, "scores": 100, "members": 8, "turns": 8, "circuits": 16}
"""What comes and goes: connections by how many calls were in flight, what is forgotten all at once when it is full or when
a table is put in force, and what the table has so many of, once each was used."""


def print_table(samples: Sequence[Sample]) -> None:
    """In Markdown."""
    names = list(samples[0].held)
    print(f"| calls | s | RSS MB | {' | '.join(names)} |")
    print(f"|---|---|---|{'---|' * len(names)}")
    for sample in samples:
        held = " | ".join(str(sample.held[name]) for name in names)
        print(f"| {sample.calls} | {sample.seconds:.0f} | {sample.rss_mb:.1f} | {held} |")


def print_growth(samples: Sequence[Sample]) -> None:
    """Which of our objects became more since the first two thirds, if any."""
    before, after = samples[len(samples) * 2 // 3 - 1].objects, samples[-1].objects
    grown = [(after[name] - before[name], name) for name in after if after[name] > before[name]]
    for more, name in sorted(grown, reverse=True)[:MOST_SHOWN]:
        print(f"- {name}: {after[name]}, {more} more")


def main() -> int:
    """Soak, print, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=100_000, help="a multiple of 100")
    calls = parser.parse_args().calls
    logging.basicConfig(level=logging.CRITICAL)  # what fails here is meant to
    _log.setLevel(logging.INFO)
    with tempfile.TemporaryDirectory() as folder, Witness() as witness:
        path = Path(folder, "llm.toml")
        path.write_text(table(witness.origin, 0), encoding="utf-8")
        with use(Patchbay(Table(path, environ=HOUSE_KEYS))) as patchbay:
            soak = Soak(patchbay, witness, calls)
            asyncio.run(soak.run())
            patchbay.close()
        counts = witness.counts()
    return report(soak, counts)


def report(soak: Soak, counts: Counter[str]) -> int:
    """Everything that was found; the exit code."""
    print_table(soak.samples)
    print_growth(soak.samples)
    print(f"\nOutcomes: {', '.join(f'{name} {times}' for name, times in soak.outcomes.most_common())}.")
    print(f"At the provider: {', '.join(f'{times} {name}' for name, times in counts.items())}.")
    faults = faults_of(soak.samples)
    faults += [f"{counts['wrong keys']} requests with a wrong key"] if counts["wrong keys"] else []
    faults += [f"{len(soak.wrong)} wrong outcomes, such as {soak.wrong[0]}"] if soak.wrong else []
    print(f"\nNot flat: {'; '.join(faults)}." if faults else "\nFlat.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
