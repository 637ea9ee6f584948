"""What a thread waits for can be ended from another one, and nobody else's connection is touched by that."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import httpcore2
import pytest

from backend.tests.fakes.clock import Clock
from backend.utils.llm.model_config import Provider
from backend.utils.llm.transport import Credential, Ticket
from backend.utils.llm.transport.clocks import BoundedBackend, Interrupt, in_time_here

if TYPE_CHECKING:
    from collections.abc import Iterator

OPEN = Provider("p", "openai", "open", "http://127.0.0.1/v1")
LONG = 30.0


def ticket(clock: Any = time.monotonic, *, interruptible: bool = True) -> Ticket:
    made = Ticket("1", OPEN, Credential("house", None), seconds=LONG, connect_seconds=LONG, clock=clock)
    if interruptible:
        made.expect_interrupts()
    return made


@pytest.fixture
def line() -> Iterator[tuple[httpcore2.NetworkStream, socket.socket]]:
    """A connection, as the pool has it, and its other end."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        backend = BoundedBackend(httpcore2.SyncBackend())
        stream = backend.connect_tcp("127.0.0.1", listener.getsockname()[1], LONG)
        stack.callback(stream.close)
        other, _ = listener.accept()
        yield stream, stack.enter_context(other)


def in_a_thread(work: Any) -> tuple[threading.Thread, list[Any]]:
    """What it gives back, or raises, once it is over."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(work())
        except Exception as error:  # noqa: BLE001 - it is looked at
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def test_whatever_is_due_is_late_once_it_is_cancelled() -> None:
    cancelled = ticket(Clock())
    cancelled.cancel()
    cancelled.extend(LONG)
    cancelled.expect_within(LONG)

    assert cancelled.left() < 0


@pytest.mark.parametrize("waits_for", ["reading", "writing"])
def test_a_thread_that_waits_on_its_socket_waits_no_longer(
    line: tuple[httpcore2.NetworkStream, socket.socket], waits_for: str
) -> None:
    stream, _ = line
    given_up, waits = ticket(), threading.Event()

    def work() -> Any:
        with in_time_here(given_up):
            waits.set()
            if waits_for == "reading":
                return stream.read(100)
            stream.write(b"x" * 50_000_000)
            return None

    thread, outcome = in_a_thread(work)
    waits.wait(5)
    time_to_block = threading.Event()
    time_to_block.wait(0.1)
    given_up.cancel()
    thread.join(5)

    assert not thread.is_alive()
    (end,) = outcome
    assert end == b"" or isinstance(end, httpcore2.WriteError | httpcore2.WriteTimeout)


@pytest.mark.parametrize("late", [httpcore2.ReadTimeout, httpcore2.WriteTimeout])
def test_what_was_cancelled_before_waits_for_nothing(
    line: tuple[httpcore2.NetworkStream, socket.socket], late: type[Exception]
) -> None:
    stream, _ = line
    given_up = ticket()
    given_up.cancel()

    wait = partial(stream.read, 1) if late is httpcore2.ReadTimeout else partial(stream.write, b"x")
    with in_time_here(given_up), pytest.raises(late):
        wait()


def test_a_connection_that_it_has_given_back_is_left_alone(
    line: tuple[httpcore2.NetworkStream, socket.socket],
) -> None:
    stream, other = line
    before, after = ticket(), ticket()
    other.sendall(b"1")
    with in_time_here(before):
        assert stream.read(1) == b"1"

    before.cancel()

    other.sendall(b"2")
    with in_time_here(after):
        assert stream.read(1) == b"2"


def test_who_cannot_be_cancelled_pays_nothing(
    line: tuple[httpcore2.NetworkStream, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, other = line
    monkeypatch.setattr(Interrupt, "ends", None)
    other.sendall(b"1")

    with in_time_here(ticket(interruptible=False)):
        stream.write(b"x")
        assert stream.read(1) == b"1"
