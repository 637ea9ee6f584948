"""That this process is late itself is not the provider's failure, and what has arrived meanwhile is read."""

from __future__ import annotations

import asyncio
import time
from random import Random
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from backend.utils.llm.clock import Time
from backend.utils.llm.errors import CallTimeoutError
from backend.utils.llm.testing import Hang, Text
from backend.utils.llm.transport.ticket import LATE_SECONDS, LOOK_SECONDS

if TYPE_CHECKING:
    from backend.utils.llm.testing import LoopbackProvider

    from .conftest import Make

ENDPOINT = "openai:gpt-6-luna"
CALLS = 100


class Stalls:
    """A clock that jumps whenever the process is said to have stood still."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def clock(self) -> float:
        return time.monotonic() + self.seconds


class LateLoop(asyncio.SelectorEventLoop):
    """An event loop that is held up by 1 to 6 seconds again and again, at random. Nobody waits for them."""

    def __init__(self, stalls: Stalls, share: float) -> None:
        self._stalls = stalls
        self._share = share
        self._chance = Random(17)  # noqa: S311 - the same each time
        super().__init__()
        self.call_soon(self._maybe_late)

    @override
    def time(self) -> float:
        return self._stalls.clock()

    def _maybe_late(self) -> None:
        if self._chance.random() < self._share:
            self._stalls.seconds += self._chance.uniform(1.0, 6.0)
        self.call_later(0.001, self._maybe_late)


async def sent(provider: LoopbackProvider, number: int) -> None:
    """Return once so many requests have come."""
    while len(provider.requests) < number:  # noqa: ASYNC110 - they come in another thread
        await asyncio.sleep(0.001)


def test_calls_of_a_loop_that_is_late_again_and_again_all_succeed(
    make: Make, provider: LoopbackProvider
) -> None:
    stalls = Stalls()
    patchbay = make(
        ENDPOINT, "[features.f]\ndeadline = 3000\noptions.timeout = 3000", time=Time(clock=stalls.clock)
    )
    provider.always(Text("well"))
    model = patchbay.get_llm("f")

    async def at_once() -> list[Any]:
        found = await asyncio.gather(*(model.ainvoke("hi") for _ in range(CALLS)), return_exceptions=True)
        await patchbay.aclose()
        return found

    with asyncio.Runner(loop_factory=lambda: LateLoop(stalls, 0.5)) as runner:
        answers = runner.run(at_once())

    assert stalls.seconds > 6
    assert [answer for answer in answers if isinstance(answer, BaseException)] == []
    assert len(provider.requests) == CALLS


def test_an_answer_that_came_while_the_process_stood_still_is_read(
    make: Make, provider: LoopbackProvider
) -> None:
    """Also if the call's deadline went by meanwhile."""
    stalls = Stalls()
    patchbay = make(ENDPOINT, "[features.f]\ndeadline = 30", time=Time(clock=stalls.clock))
    provider.always(Text("well"))

    async def stopped() -> str:
        call = asyncio.ensure_future(patchbay.get_llm("f").ainvoke("hi"))
        await sent(provider, 1)
        Event().wait(0.05)  # it is the loop that stands still, while the answer comes
        stalls.seconds += 40
        answer = await call
        await patchbay.aclose()
        return answer.text

    with asyncio.Runner(loop_factory=lambda: LateLoop(stalls, 0.0)) as runner:
        assert runner.run(stopped()) == "well"


def test_a_time_out_of_a_late_loop_says_nothing_of_the_endpoint(
    make: Make, provider: LoopbackProvider
) -> None:
    stalls = Stalls()
    patchbay = make(ENDPOINT, "[features.f]\ndeadline = 30\nattempts = 1", time=Time(clock=stalls.clock))
    provider.always(Hang())

    async def stopped(number: int) -> None:
        call = asyncio.ensure_future(patchbay.get_llm("f").ainvoke("hi"))
        await sent(provider, number)
        stalls.seconds += 40
        with pytest.raises(CallTimeoutError):
            await call
        await patchbay.aclose()

    for number in range(1, 7):  # a breaker opens for fewer
        with asyncio.Runner(loop_factory=lambda: LateLoop(stalls, 0.0)) as runner:
            runner.run(stopped(number))

    assert patchbay.explain("f").skipped == ()


def test_a_ticket_looks_again_only_if_it_is_late(make: Make) -> None:
    stalls = Stalls()
    patchbay = make(ENDPOINT, time=Time(clock=lambda: stalls.seconds))
    (candidate,) = patchbay.explain("f").candidates
    registry = patchbay.runtime.transport.tickets
    ticket = registry.open(candidate.endpoint.provider, None, 10.0)  # type: ignore[arg-type]

    stalls.seconds = 10.0 + LATE_SECONDS / 2
    assert not ticket.extend_if_late()
    stalls.seconds = 15.0
    assert ticket.extend_if_late()
    assert ticket.due == 15.0 + LOOK_SECONDS
    assert not ticket.extend_if_late()
    assert ticket.observed.was_late
