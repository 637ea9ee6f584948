"""What an application raises into a waiting call from outside is not ours to handle, nor the provider's to answer for."""

from __future__ import annotations

import logging
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from ctypes import c_ulong, py_object, pythonapi
from typing import TYPE_CHECKING, Any

import pytest

from backend.utils.llm.interruptions import find_interruption
from backend.utils.llm.testing import Hang, SlowFirstByte, Text, Trickle

from .drivers import invoke, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backend.utils.llm.testing import LoopbackProvider, Reply

    from .conftest import Make
    from .drivers import Driver

ENDPOINTS = ["openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite", "anthropic:claude-sonnet-5-5"]
OTHERS = "openai:gpt-6-sol"
SLOW: dict[str, Reply] = {"silent": Hang(), "trickling": Trickle(Text("word " * 200, chunks=200), 30.0)}


class OutOfTimeError(Exception):
    """As a task queue's time limit."""


class ExitError(BaseException):
    """As a worker's that is told to stop."""


KINDS = [OutOfTimeError, ExitError, TimeoutError, ConnectionResetError, ValueError, RuntimeError]


@pytest.fixture(autouse=True)
def _silent_log() -> Iterator[None]:
    """What comes while `logging` takes a handler's lock leaves it taken, and every other thread that logs waits for ever."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def alarm(provider: LoopbackProvider) -> Iterator[Callable[[BaseException], None]]:
    """Lets a signal's handler raise an exception a little after the next request.

    Not before: where it comes while Python connects, the garbage collector closes the socket, and warns.
    """
    before = signal.getsignal(signal.SIGALRM)

    def ring() -> None:
        if provider.wait_until(bool, timeout_seconds=60):
            # Again, in case the first one comes while something is logged: logging swallows what is raised meanwhile.
            signal.setitimer(signal.ITIMER_REAL, 0.1, 3.0)

    with ThreadPoolExecutor(1) as elsewhere:

        def set_for(error: BaseException) -> None:
            def handler(*_: Any) -> None:
                raise error

            signal.signal(signal.SIGALRM, handler)
            elsewhere.submit(ring)

        yield set_for
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def nothing_is_left_of(patchbay: Any, endpoint: str) -> bool:
    """Whether the endpoint is in good standing, with nothing under way."""
    (candidate,) = [one for one in patchbay.explain("f").candidates if one.display_name == endpoint]
    health = patchbay.health
    is_well = health.find_unavailable_reason(candidate.endpoint_circuit) is None
    return is_well and len(patchbay.runtime.transport.tickets) == 0


@pytest.mark.parametrize("call", [invoke, stream])
@pytest.mark.parametrize("conduct", SLOW)
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_handler_of_a_signal_raises_comes_out_as_it_is(
    alarm: Any, kind: type[BaseException], conduct: str, call: Driver, make: Make, provider: LoopbackProvider
) -> None:
    provider.always(SLOW[conduct])
    patchbay = make([ENDPOINTS[0], OTHERS], "[features.f]\nlimits = { concurrency = 1 }")
    model = patchbay.get_llm("f")
    raised = kind("from outside")

    alarm(raised)
    with pytest.raises(kind) as caught:
        call(model, "hi")
    signal.setitimer(signal.ITIMER_REAL, 0)

    assert caught.value is raised
    assert len(provider.requests) == 1
    assert nothing_is_left_of(patchbay, ENDPOINTS[0])
    provider.always(Text("well"))
    assert call(model, "hi").text == "well"


@pytest.mark.parametrize("endpoint", ENDPOINTS[1:])
@pytest.mark.parametrize("hedge", ["", "hedge = true"])
@pytest.mark.parametrize("kind", [OutOfTimeError, TimeoutError])
def test_so_it_does_over_every_api_and_past_a_hedge(
    alarm: Any, kind: type[BaseException], hedge: str, endpoint: str, make: Make, provider: LoopbackProvider
) -> None:
    provider.always(Hang())
    patchbay = make([endpoint, OTHERS], f"[features.f]\n{hedge}")

    raised = kind("from outside")
    alarm(raised)
    with pytest.raises(kind) as caught:
        invoke(patchbay.get_llm("f"), "hi")

    assert caught.value is raised
    assert nothing_is_left_of(patchbay, endpoint)


def test_what_another_thread_raises_into_a_call_comes_out_as_it_is(
    make: Make, provider: LoopbackProvider
) -> None:
    provider.always(SlowFirstByte(0.4, Text("late")))
    patchbay = make(ENDPOINTS[0])
    caller = c_ulong(threading.get_ident())
    pressed = threading.Timer(
        0.1, lambda: pythonapi.PyThreadState_SetAsyncExc(caller, py_object(OutOfTimeError))
    )

    pressed.start()
    with pytest.raises(OutOfTimeError):
        invoke(patchbay.get_llm("f"), "hi")

    assert nothing_is_left_of(patchbay, ENDPOINTS[0])


def test_what_a_caller_handles_anyway_is_not_taken_for_one(make: Make) -> None:
    patchbay = make(ENDPOINTS[0])
    model = patchbay.get_llm("f")

    try:
        raise OutOfTimeError  # noqa: TRY301
    except OutOfTimeError:
        assert invoke(model, "hi").text


def test_an_error_that_was_never_raised_is_none() -> None:
    assert find_interruption(ValueError()) is None


@pytest.fixture
def _raising_handler() -> Iterator[None]:
    def handler(*_: Any) -> None:
        raise OutOfTimeError("from outside")

    before = signal.signal(signal.SIGUSR1, handler)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("_raising_handler")
def test_what_is_raised_into_an_observer_comes_out_once_the_others_were_told(make: Make) -> None:
    told: list[str] = []

    def observe(_: object, attempt: Any) -> None:
        told.append(attempt.outcome)
        signal.raise_signal(signal.SIGUSR1)

    patchbay = make(ENDPOINTS[0], "[features.f]\nlimits = { concurrency = 1 }", observer=observe)

    with pytest.raises(OutOfTimeError):
        invoke(patchbay.get_llm("f"), "hi")

    assert told == ["ok"]
    assert nothing_is_left_of(patchbay, ENDPOINTS[0])
    assert patchbay.explain("f").candidates[0].rest is None


def test_what_an_observer_raises_itself_changes_nothing(make: Make) -> None:
    def observe(*_: object) -> None:
        raise OutOfTimeError("its own")

    patchbay = make(ENDPOINTS[0], observer=observe)

    assert invoke(patchbay.get_llm("f"), "hi").text
