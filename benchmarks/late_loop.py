"""Whether a late event loop makes failures of a healthy provider's answers.

    PYTHONPATH=. .venv/bin/python -m benchmarks.late_loop [CALLS]    # or: make late

Two thousand calls at once, in four ways, on a loop that is made late by 1 to 6 seconds at random: first by a clock that
jumps, hundreds of times; then by one that really sleeps, a few times. Time-outs to connect are
the table's own, 5 seconds. Takes a minute. Exit code 1 if a call fails, or one is sent twice.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from typing_extensions import override

from backend.utils.llm import LLMError
from backend.utils.llm.clock import Time
from backend.utils.llm.testing import LoopbackProvider
from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

CALLS = 2_000
LEAST_LATE, MOST_LATE = 1.0, 6.0
JUMPS, SLEEPS = 500, 10
"""How often the loop is late: by jumps of the clock within an hour, the longest deadline there is; by sleeping in half a minute."""
CHAIN = {"f": "openai:gpt-6-luna"}
ROW = "[features.f]\ndeadline = 3600\noptions.timeout = 3600\noptions.first_chunk_timeout = 3600\n"


class Found(BaseModel):
    """What a structured answer is."""

    number: int


@dataclass
class Lateness:
    """Makes a loop late ``most`` times, in a share of the moments at which it might.

    Attributes:
        hold: Makes it so many seconds late, if its clock does not by what is told in ``seconds``.
        seconds: By how much it was late in all, and how often.
    """

    hold: Callable[[float], object]
    share: float
    most: int
    chance: Random = field(default_factory=lambda: Random(17))  # noqa: S311 - the same each time
    seconds: float = 0.0
    times: int = 0

    def maybe(self) -> None:
        """Make it late, or not."""
        if self.times < self.most and self.chance.random() < self.share:
            seconds = self.chance.uniform(LEAST_LATE, MOST_LATE)
            self.hold(seconds)
            self.seconds += seconds
            self.times += 1


class LateLoop(asyncio.SelectorEventLoop):
    """An event loop that may be late in each of its rounds."""

    def __init__(self, clock: Callable[[], float], lateness: Lateness) -> None:
        self._clock, self._lateness = clock, lateness
        super().__init__()
        self.call_soon(self._round)

    @override
    def time(self) -> float:
        return self._clock()

    def _round(self) -> None:
        self._lateness.maybe()
        self.call_later(0.0005, self._round)


async def _streamed(model: Any) -> str:
    return "".join([chunk.text async for chunk in model.astream("hi")])


def _way(model: Any, number: int) -> Coroutine[Any, Any, Any]:
    match number % 4:
        case 0:
            return _streamed(model)
        case 1:
            return model.with_structured_output(Found).ainvoke("hi")  # type: ignore[no-any-return]
        case _:
            return model.ainvoke("hi")  # type: ignore[no-any-return]


def _outcome(came: object) -> str:
    if isinstance(came, LLMError):
        return f"{type(came).__name__} ({came.attempts[-1].category if came.attempts else 'nothing sent'})"
    return type(came).__name__ if isinstance(came, BaseException) else "answered"


def run(calls: int, clock: Callable[[], float], lateness: Lateness) -> tuple[Counter[str], int]:
    """The outcomes of so many calls at once, and how many requests the provider counted."""

    async def called(model: Any, number: int) -> Any:
        lateness.maybe()
        answer = await _way(model, number)
        lateness.maybe()
        return answer

    with LoopbackProvider() as provider:
        patchbay = loopback_patchbay(provider, CHAIN, ROW, time=Time(clock=clock))
        patchbay.warm_up()
        model = patchbay.get_llm("f")

        async def at_once() -> list[Any]:
            came = await asyncio.gather(*(called(model, n) for n in range(calls)), return_exceptions=True)
            await patchbay.aclose()
            return came

        with asyncio.Runner(loop_factory=lambda: LateLoop(clock, lateness)) as runner:
            outcomes = Counter(map(_outcome, runner.run(at_once())))
        return outcomes, len(provider.requests)


def main() -> int:
    """Both; the exit code."""
    calls = int(sys.argv[1]) if sys.argv[1:] else CALLS
    logging.disable(logging.CRITICAL)
    jumps = Lateness(float, JUMPS / calls, JUMPS)
    sleeps = Lateness(time.sleep, SLEEPS / calls, SLEEPS)  # noqa: TID251 - it is what makes it late
    is_well = True
    for name, clock, lateness in (
        ("a clock that jumps", lambda: time.monotonic() + jumps.seconds, jumps),
        ("a callback that sleeps", time.monotonic, sleeps),
    ):
        outcomes, requests = run(calls, clock, lateness)
        told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
        late = f"late {lateness.times} times, {lateness.seconds:.0f} s in all"
        print(f"{name}: {late}; {told}; {requests} requests", flush=True)
        is_well &= outcomes == {"answered": calls} and requests == calls
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
