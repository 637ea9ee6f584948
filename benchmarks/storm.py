"""A storm: two minutes of mixed calls through bad weather, and whether what is promised holds.

    PYTHONPATH=. .venv/bin/python -m benchmarks.storm [--seed 7] [--seconds 120]    # or: make storm

Calls in eight ways (whole, streamed, held to a schema; from threads and on an event loop; streams that are left, calls that are
cancelled) of eight features (alone, in chains and groups, hedged, limited in requests, tokens and places), a third of them with
keys of their own, while endpoints fail now and then or are away, connections are reset, streams trickle or break off, and new
versions of the table are put in force. What each request meets follows from the seed, not from the clock; and so does the verdict,
on a quiet machine and on a busy one. Exit code 1 if one of these does not hold:

- **Late**: no call ends more than 0.5 s after its deadline. By how much this process itself was late is taken off: watchers in a
  thread and on the loop add up by how much they woke too late.
- **Avoidable**: no call fails, nothing of its answer handed on, as long as an endpoint of its chain was never asked that would have
  answered well, and a second was left. Of those that might have been asked once more, and would have answered then, it is one call
  in a thousand at most: a call does not repeat a probe, lest all do in an outage.
- **Requests**: at most 1.1 times the minimum. That is one for each call that did not fail, one for each single fault that a call met, and
  for each brown-out as many as it takes to notice it: five for each payer's breaker, and one for each call that may be under way.
- **Attempts**: as many as requests that arrived. A hedge that was not sent is none.
- **Keys**: no request with another one than its payer's.
- **Answers**: each is that of its own call.
- **Left**: no ticket, reservation, place, call in a queue, task, thread or socket more than before; memory grows by less than 5 MB
  from the middle to the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextvars
import gc
import logging
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, SecretStr

from backend.utils.llm import Caller, LLMError, Patchbay, Table, use_caller
from backend.utils.llm.errors import StreamInterruptedError
from backend.utils.llm.state.circuit_breaker import IN_A_ROW
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_table

from .process import descriptors, settled_rss_mb, threads
from .storm_weather import ATTEMPTS, CHAINS, USERS, BrownOut, Deed, StormProvider, Weather, rows

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from backend.utils.llm.receipt import Attempt

SEED, SECONDS, CALLS_PER_SECOND = 7, 120, 40
THREADS, TASKS = 8, 24
RELOADS = 20
MOST_LATE, LEAST_LEFT, MOST_REQUESTS, MOST_MB = 0.5, 1.0, 1.1, 5.0
WATCH_SECONDS = 0.02
SYNCHRONOUS = {"invoke", "stream", "structured"}
CALL: contextvars.ContextVar[int] = contextvars.ContextVar("CALL", default=-1)
"""The number of the call in whose context something happens."""


class Found(BaseModel):
    """What a structured answer is."""

    number: int


class Ended(NamedTuple):
    """One call that is over.

    Attributes:
        seconds: What it took, without what we were late ourselves.
        error: None if it was answered, left or cancelled.
        is_wrong: Whether it got another call's answer.
        late: By how much we were late ourselves meanwhile: a call has no more of its time for that.
        refused: The endpoints that it did not ask because a budget had no room for them.
    """

    deed: Deed
    seconds: float
    error: BaseException | None
    is_wrong: bool = False
    late: float = 0.0
    refused: frozenset[str] = frozenset()


class OwnLateness:
    """Adds up by how much a thread and a loop of this process wake too late."""

    def __init__(self) -> None:
        self._seconds = {"thread": 0.0, "loop": 0.0}
        self._is_over = threading.Event()

    @property
    def seconds(self) -> float:
        """So far: that of whichever was later."""
        return max(self._seconds.values())

    def watch(self) -> None:
        """In a thread of its own, until `end`."""
        while not self._is_over.is_set():
            began = time.monotonic()
            self._is_over.wait(WATCH_SECONDS)
            self._note("thread", began)

    async def awatch(self) -> None:
        """On the loop, until `end`."""
        while not self._is_over.is_set():
            began = time.monotonic()
            await asyncio.sleep(WATCH_SECONDS)
            self._note("loop", began)

    def _note(self, who: str, began: float) -> None:
        self._seconds[who] += max(0.0, time.monotonic() - began - WATCH_SECONDS)

    def end(self) -> None:
        """Watch no more."""
        self._is_over.set()


@dataclass
class Storm:
    """All calls of a storm, and what is left of them.

    Args:
        weather: What they meet.
        provider: Who brings it.
        per_second: How many begin in a second, if the machine can.
    """

    weather: Weather
    provider: StormProvider
    path: Path
    per_second: float
    ended: list[Ended] = field(default_factory=list)
    attempts: Counter[str] = field(default_factory=Counter)
    of_calls: Counter[int] = field(default_factory=Counter)
    rss: list[float] = field(default_factory=list)
    held: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lateness = OwnLateness()
        self._versions, self._writing = count(1), threading.Lock()
        self._write(0)
        table = Table(self.path, environ=HOUSE_KEYS)
        self.patchbay = Patchbay(table, observer=self._note)
        users = {name: SecretStr(f"sk-user-{{}}-{name}") for name in ("openai", "gemini", "anthropic")}
        self._callers = [
            Caller(
                user_id=f"user-{number}",
                keys={name: SecretStr(key.get_secret_value().format(number)) for name, key in users.items()},
            )
            for number in range(USERS)
        ]

    def _note(self, _: object, attempt: Attempt) -> None:
        self.attempts[attempt.outcome] += 1
        self.of_calls[CALL.get()] += 1

    def run(self) -> None:
        """Make them all, on a loop and in threads."""
        self.patchbay.warm_up()
        watcher = threading.Thread(target=self._lateness.watch)
        watcher.start()
        try:
            asyncio.run(self._all())
        finally:
            self._lateness.end()
            watcher.join()
            self.patchbay.close()
        gc.collect()
        self.held = self._held()

    async def _all(self) -> None:
        lateness = asyncio.create_task(self._lateness.awatch())
        with ThreadPoolExecutor(THREADS) as pool:
            half = self.weather.calls // 2
            for numbers in (range(half), range(half, self.weather.calls)):
                await self._make(iter(numbers), pool)
                self.rss.append(settled_rss_mb())
        self._lateness.end()
        await lateness
        await self.patchbay.aclose()
        assert len(asyncio.all_tasks()) == 1, asyncio.all_tasks()  # noqa: S101 - this one

    async def _make(self, numbers: Iterator[int], pool: ThreadPoolExecutor) -> None:
        async def make(number: int) -> None:
            if number % max(1, self.weather.calls // RELOADS) == 0:
                await asyncio.to_thread(self._reload)
            await self._conduct(self.weather.deed(number), pool)

        await paced(numbers, make, self.per_second, THREADS + TASKS)

    async def _conduct(self, deed: Deed, pool: ThreadPoolExecutor) -> None:
        caller = None if deed.user is None else self._callers[deed.user]
        CALL.set(deed.number)
        with use_caller(caller or Caller()):
            if deed.way in SYNCHRONOUS:
                run = contextvars.copy_context().run
                done = await asyncio.get_running_loop().run_in_executor(pool, run, self._timed, deed)
            else:
                done = await self._atimed(deed)
        self.ended.append(done)

    # One call ----------------------------------------------------------------------------------------------------------

    def _timed(self, deed: Deed) -> Ended:
        began, late, said, error = time.monotonic(), self._lateness.seconds, None, None
        try:
            said = here(self.patchbay.get_llm(deed.feature), deed)
        except LLMError as raised:
            error = raised.with_traceback(None)
        return self._over(deed, began, late, said, error)

    async def _atimed(self, deed: Deed) -> Ended:
        began, late, said, error = time.monotonic(), self._lateness.seconds, None, None
        try:
            said = await there(self.patchbay.get_llm(deed.feature), deed)
        except LLMError as raised:
            error = raised.with_traceback(None)
        return self._over(deed, began, late, said, error)

    def _over(self, deed: Deed, began: float, late: float, said: str | None, error: LLMError | None) -> Ended:
        late = self._lateness.seconds - late
        is_wrong = said is not None and str(deed.number) not in said
        return Ended(deed, time.monotonic() - began - late, error, is_wrong, late)

    # What is around it -------------------------------------------------------------------------------------------------

    def _write(self, version: int) -> None:
        chains = {name: list(chain) for name, chain in CHAINS.items()}
        self.path.write_text(loopback_table(self.provider, chains, rows(version)), encoding="utf-8")

    def _reload(self) -> None:
        with self._writing:  # half a table would be none
            self._write(next(self._versions))
            self.patchbay.table.reload()

    def _held(self) -> dict[str, int]:
        limiter, now = self.patchbay.health.traffic.rate_limiter, time.monotonic()
        counts = limiter._counts.values()  # noqa: SLF001 - what is counted here has no other door
        loads = self.patchbay.health.traffic.targets._loads.values()  # noqa: SLF001
        return {
            "tickets": len(self.patchbay.runtime.transport.tickets),
            "reservations": sum(len(item.reserved) for item in counts),
            "places": sum(item.in_flight.count(now) for item in counts),
            "in queues": sum(len(item.queue) for item in counts),
            "in flight": sum(load.in_flight.count(now) for load in loads),
        }


async def paced(
    numbers: Iterator[int], make: Callable[[int], Awaitable[None]], per_second: float, most: int
) -> None:
    """Make the calls of these numbers, each at its time, as if all numbers were called in turn; ``most`` of them at once."""
    began, first = time.monotonic(), None

    async def work() -> None:
        nonlocal first
        for number in numbers:
            first = number if first is None else first
            await asyncio.sleep(began + (number - first) / per_second - time.monotonic())
            await make(number)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(most):
            tasks.create_task(work())


def here(model: Any, deed: Deed) -> str | None:
    """What a synchronous call says."""
    match deed.way:
        case "invoke":
            return str(model.invoke(deed.prompt).text)
        case "stream":
            return "".join(chunk.text for chunk in model.stream(deed.prompt))
        case _:
            return str(model.with_structured_output(Found).invoke(deed.prompt).number)


async def there(model: Any, deed: Deed) -> str | None:
    """What an asynchronous call says; None if it is left."""
    match deed.way:
        case "ainvoke":
            return str((await model.ainvoke(deed.prompt)).text)
        case "astream":
            return "".join([chunk.text async for chunk in model.astream(deed.prompt)])
        case "astructured":
            return str((await model.with_structured_output(Found).ainvoke(deed.prompt)).number)
        case "left":
            async with aclosing(model.astream(deed.prompt)) as chunks:
                _ = [await anext(chunks, None) for _ in range(2)]
            return None
        case _:
            await _cancelled(model, deed)
            return None


async def _cancelled(model: Any, deed: Deed) -> None:
    """Cancelled when its first words are there, or at its end."""
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in model.astream(deed.prompt):
            begun.set()

    reading, waiting = asyncio.create_task(read()), asyncio.create_task(begun.wait())
    await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    reading.cancel()
    try:
        await reading
    except asyncio.CancelledError:
        return


# Verdict -------------------------------------------------------------------------------------------------------------


class Bound(NamedTuple):
    """What was found, what it may be, and whether it holds."""

    name: str
    found: str
    bound: str
    holds: bool


def verdict(storm: Storm) -> list[Bound]:
    """Every bound."""
    provider, ended = storm.provider, storm.ended
    arrived, attempts = provider.arrived, storm.attempts.total()
    late = max((item.seconds - item.deed.deadline for item in ended), default=0.0)
    avoidable = [item for item in ended if is_avoidable(item, storm, most=1)]
    given_up = [item for item in ended if is_avoidable(item, storm, most=ATTEMPTS) and item not in avoidable]
    least = minimum(storm)
    left = {name: number for name, number in storm.held.items() if number > 0}
    grown = storm.rss[1] - storm.rss[0]
    return [
        Bound("latest call, seconds after its deadline", f"{late:.2f}", f"{MOST_LATE}", late <= MOST_LATE),
        _few("failed, a well endpoint never asked", avoidable, 0),
        _few("failed, a well endpoint not asked again", given_up, len(ended) // 1000),
        Bound(
            "requests / minimum",
            f"{arrived} / {least} = {arrived / least:.3f}",
            f"{MOST_REQUESTS}",
            arrived <= MOST_REQUESTS * least,
        ),
        Bound(
            "attempts - requests",
            f"{attempts - arrived} {_uneven(storm)}".rstrip(),
            "0",
            attempts == arrived,
        ),
        Bound("wrong keys", str(provider.wrong_keys), "0", provider.wrong_keys == 0),
        Bound(
            "wrong answers",
            str(sum(item.is_wrong for item in ended)),
            "0",
            not any(item.is_wrong for item in ended),
        ),
        Bound("left", str(left or "nothing"), "nothing", not left),
        Bound("memory, MB", f"{grown:+.1f}", f"{MOST_MB}", grown < MOST_MB),
    ]


def _named(one: Ended) -> str:
    return f"#{one.deed.number} {one.deed.feature} {one.deed.way} for {one.deed.payer} after {one.seconds:.1f} s: {type(one.error).__name__}"


def _uneven(storm: Storm) -> str:
    """The first calls of which more attempts were recorded than requests came, or fewer."""
    came: Counter[int] = Counter()
    for (number, _), times in storm.provider.asked.items():
        came[number] += times
    uneven = [
        ended.deed for ended in storm.ended if storm.of_calls[ended.deed.number] != came[ended.deed.number]
    ]
    return ", ".join(f"#{deed.number} {deed.feature} {deed.way}" for deed in uneven[:5])


def _few(name: str, found: list[Ended], most: int) -> Bound:
    named = ", ".join(map(_named, found[:5]))
    return Bound(name, f"{len(found)} {named}".rstrip(), str(most), len(found) <= most)


def is_avoidable(one: Ended, storm: Storm, *, most: int) -> bool:
    """Whether it failed though somebody would have answered in time who was asked fewer than ``most`` times."""
    if one.error is None or isinstance(one.error, StreamInterruptedError):
        return False
    return one.deed.deadline - one.seconds - one.late >= LEAST_LEFT and any(
        name not in one.refused and _would_answer(one.deed.number, name.split(":")[1], storm, most)
        for name in CHAINS[one.deed.feature]
    )


def _would_answer(number: int, model: str, storm: Storm, most: int) -> bool:
    place = storm.provider.asked[number, model]
    return place < most and storm.weather.fault(number, model, place) is None


def minimum(storm: Storm) -> int:
    """The fewest requests that could have been enough, for somebody who knows no weather before they are in it."""
    met = sum(min(number, _to_notice(out, storm, number)) for out, number in storm.provider.faults.items())
    return sum(ended.error is None for ended in storm.ended) + met


def _to_notice(brown_out: BrownOut | None, storm: Storm, met: int) -> int:
    if brown_out is None:
        return met
    asked = storm.provider.asked
    during = range(brown_out.first, brown_out.last)
    payers = {storm.weather.deed(number).payer for number in during if asked[number, brown_out.model]}
    return IN_A_ROW * len(payers) + THREADS + TASKS


def stormed(seed: int, calls: int, per_second: float) -> Storm:
    """A storm that is over."""
    weather = Weather(seed, calls)
    threads_before, descriptors_before = threads(), descriptors()
    with tempfile.TemporaryDirectory() as folder, StormProvider(weather) as provider:
        storm = Storm(weather, provider, Path(folder, "llm.toml"), per_second)
        storm.run()
    gc.collect()
    storm.held["threads"] = threads() - threads_before
    storm.held["descriptors"] = descriptors() - descriptors_before
    return storm


def main() -> int:
    """Storm, print, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)  # what fails here is meant to
    stormed(given.seed, CALLS_PER_SECOND, CALLS_PER_SECOND)  # what is made once stays
    began = time.monotonic()
    storm = stormed(given.seed, given.seconds * CALLS_PER_SECOND, CALLS_PER_SECOND)
    report(storm, time.monotonic() - began)
    return 0 if all(bound.holds for bound in verdict(storm)) else 1


def report(storm: Storm, seconds: float) -> None:
    """In Markdown."""
    faults = storm.provider.faults
    outcomes = Counter(
        "answered" if ended.error is None else type(ended.error).__name__ for ended in storm.ended
    )
    print(
        f"Seed {storm.weather.seed}: {len(storm.ended)} calls in {seconds:.0f} s; {dict(outcomes.most_common())}."
    )
    print(
        f"Faults: {faults[None]} single, {faults.total() - faults[None]} in {len(faults) - 1} brown-outs. Attempts: {dict(storm.attempts)}.\n"
    )
    print("| what | found | bound | |\n|---|---|---|---|")
    for bound in verdict(storm):
        print(f"| {bound.name} | {bound.found} | {bound.bound} | {'holds' if bound.holds else 'BROKEN'} |")


if __name__ == "__main__":
    sys.exit(main())
