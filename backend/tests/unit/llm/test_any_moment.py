"""Whenever an application raises something into a call from outside: it comes out as it is, and nothing is left of the call.

A task queue's time limit, a signal's handler, a cancelled task. `make interruptions` takes thousands of moments.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from backend.tests.fakes.moments import Moment, moments_of
from backend.utils.llm.testing import LoopbackProvider
from backend.utils.llm.testing.patchbays import loopback_patchbay

from .drivers import DRIVERS, invoke, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backend.utils.llm.patchbay import Patchbay

    from .drivers import Driver

    Moments = dict[tuple[str, Driver], int]

pytestmark = [
    # What was just made when it came is closed by Python itself, which tells.
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
CHAINS = {"openai": "openai:gpt-6-luna", "gemini": "gemini:gemini-3.5-flash-lite"}
ROW = """
[features.FEATURE]
structured_output = true
wait = 0
select = "least_busy"
limits = { concurrency = 1, requests = "1000000/minute", tokens = "1000000000/minute" }
"""


class Found(BaseModel):
    good: bool


class OutOfTimeError(Exception):
    """As a task queue's time limit."""


class ExitError(BaseException):
    """As a worker's that is told to stop."""


def structured(model: Any, prompt: Any) -> Any:
    return model.with_structured_output(Found).invoke(prompt)


def astructured(model: Any, prompt: Any) -> Any:
    return asyncio.run(model.with_structured_output(Found).ainvoke(prompt))


CALLS = [*DRIVERS, structured, astructured]
KINDS = [OutOfTimeError, TimeoutError, ConnectionResetError, RuntimeError]
"""LangChain's gathering of answers knows no other than `Exception` on an event loop."""


@pytest.fixture(autouse=True)
def _silent_log() -> Iterator[None]:
    """What comes while `logging` takes a handler's lock leaves it taken, and every other thread that logs waits for ever."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def patchbay() -> Iterator[Patchbay]:
    with LoopbackProvider() as provider:
        made = loopback_patchbay(
            provider, CHAINS, "".join(ROW.replace("FEATURE", feature) for feature in CHAINS)
        )
        made.warm_up()
        yield made
        made.close()


@pytest.fixture(scope="module")
def moments(patchbay: Patchbay) -> Moments:
    """How many moments each way to call has, once it is warm."""
    found: Moments = {}
    for feature in CHAINS:
        model = patchbay.get_llm(feature)
        for call in CALLS:
            call(model, "hi")
            found[feature, call] = moments_of(lambda call=call, model=model: call(model, "hi"))  # type: ignore[misc]
    return found


def left_by(patchbay: Patchbay) -> list[str]:
    """What is still set aside, under way, held or held against somebody."""
    traffic, tickets = patchbay.health.traffic, patchbay.runtime.transport.tickets
    limiter, now = traffic.rate_limiter, time.monotonic()
    found = ["a ticket"] if len(tickets) else []
    for scope, count in limiter._counts.items():
        found += [f"a place of {scope}"] * count.in_flight.count(now)
        found += [f"a reservation of {scope}"] * len(count.reserved)
        found += [f"a call in the queue of {scope}"] * len(count.queue)
    for target, load in traffic.targets._loads.items():
        found += [f"a request to {target}"] * load.in_flight.count(now)
        found += [f"a failure of {target}"] if load.failing is not None else []
    for lock in (traffic.lock, patchbay.health._lock):
        found += [] if lock.acquire(blocking=False) else ["a lock"]
        lock.release()
    return found + [f"a condition of {condition}" for condition in patchbay.health._conditions]


def interrupted(moment: Moment, call: Driver, model: Any) -> BaseException | None:
    """What came out of the call, if it did not come to its end."""
    try:
        with moment.awaited():
            call(model, "hi")
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return error.with_traceback(None)
    return None


@pytest.mark.parametrize("call", CALLS)
@given(share=st.floats(0.0, 1.0), kind=st.sampled_from(KINDS), feature=st.sampled_from(sorted(CHAINS)))
def test_what_is_raised_at_any_moment_comes_out_as_it_is_and_leaves_nothing(
    share: float, kind: type[Exception], feature: str, call: Driver, patchbay: Patchbay, moments: Moments
) -> None:
    raised = kind("from outside")
    moment, model = Moment(int(share * moments[feature, call]), raised), patchbay.get_llm(feature)

    came = interrupted(moment, call, model)

    assert came is (raised if moment.raised else None)
    assert left_by(patchbay) == []
    assert call(model, "hi") is not None


@pytest.mark.parametrize("call", [invoke, stream])
@given(share=st.floats(0.0, 1.0))
def test_so_does_what_is_no_exception_but_tells_a_worker_to_stop(
    share: float, call: Driver, patchbay: Patchbay, moments: Moments
) -> None:
    raised = ExitError("from outside")
    moment, model = Moment(int(share * moments["openai", call]), raised), patchbay.get_llm("openai")

    came = interrupted(moment, call, model)

    assert came is (raised if moment.raised else None)
    assert left_by(patchbay) == []
    assert call(model, "hi") is not None


async def cancelled_after(rounds: int, work: Callable[[], Any]) -> bool:
    """Whether ``work`` was cancelled, after so many rounds of the loop."""
    task = asyncio.ensure_future(work())
    for _ in range(rounds):
        await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return True
    return False


@pytest.mark.parametrize("way", ["whole", "stream"])
@given(rounds=st.integers(0, 300))
def test_a_call_that_is_cancelled_after_any_round_of_the_loop_leaves_nothing(
    rounds: int, way: str, patchbay: Patchbay
) -> None:
    model = patchbay.get_llm("openai")

    async def streamed() -> None:
        async for _ in model.astream("hi"):
            pass

    work = streamed if way == "stream" else lambda: model.ainvoke("hi")
    asyncio.run(cancelled_after(rounds, work))
    gc.collect(0)

    assert left_by(patchbay) == []


@pytest.mark.parametrize("call", [invoke, stream])
@given(share=st.floats(0.0, 1.5))
def test_what_a_handler_of_a_signal_raises_at_any_time_comes_out_as_it_is_and_leaves_nothing(
    share: float, call: Driver, patchbay: Patchbay
) -> None:
    raised, model = OutOfTimeError("from outside"), patchbay.get_llm("openai")
    came: BaseException | None = None
    is_over = False

    def handler(*_: Any) -> None:
        if not is_over:
            raise raised

    before = signal.signal(signal.SIGALRM, handler)
    try:
        began_at = time.perf_counter()
        call(model, "hi")
        usual = time.perf_counter() - began_at
        signal.setitimer(signal.ITIMER_REAL, max(1e-6, share * usual))
        call(model, "hi")
        is_over = True
    except OutOfTimeError as error:
        came = error.with_traceback(None)
    finally:
        is_over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert came is None or isinstance(came, OutOfTimeError)
    assert left_by(patchbay) == []
    assert call(model, "hi") is not None
