"""A model that does not answer is seen, and is given up only when it has been silent for long."""

from __future__ import annotations

import socket
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING, cast

import pytest
from typing_extensions import override

from backend.local_model import pulse
from backend.local_model.pulse import ANSWER, EVERY, SILENCE, is_healthy, watch_health
from backend.tests.fakes.clock import Clock

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator


class Child:
    """Lives for so many questions, in a time of its own: one for each letter of ``says``, which is its answer.

    y is a yes, n a no, and a dot is silence.
    """

    def __init__(self, says: str) -> None:
        self.clock = Clock()
        self._says = iter(says)
        self._next = ""

    def wait(self, seconds: float) -> bool:
        self.clock.now += seconds
        try:
            self._next = next(self._says)
        except StopIteration:
            return True
        return False

    def is_well(self) -> bool:
        if self._next == ".":
            self.clock.now += ANSWER
        return self._next == "y"

    def pulses(self) -> list[pulse.Pulse]:
        return list(watch_health(self.is_well, cast("threading.Event", self), self.clock))


def test_a_child_that_answers_is_well_until_it_ends() -> None:
    assert Child("yyy").pulses() == ["well"] * 3


def test_one_that_is_slow_for_a_while_is_not_given_up() -> None:
    assert Child("y..y..y").pulses() == [*("well", "silent", "silent", "well", "silent", "silent", "well")]


def test_a_server_that_is_silent_for_long_is_given_up_and_not_asked_again() -> None:
    child = Child("y" + "." * 100)

    found = child.pulses()

    assert found == ["well", "silent", "silent", "gone"]
    assert child.clock.now <= EVERY + SILENCE + EVERY + ANSWER


def test_one_that_refuses_every_question_is_given_up_too() -> None:
    found = Child("n" * 100).pulses()

    assert (found[0], found[-1]) == ("silent", "gone")


class Health(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/v1/health" else 404)
        self.end_headers()

    @override
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serving() -> Iterator[Callable[[int], str]]:
    """A server whose health has the status that is asked for; its address."""
    servers: list[HTTPServer] = []

    def serve(status: int) -> str:
        server = HTTPServer(("127.0.0.1", 0), type("Told", (Health,), {"status": status}))
        servers.append(server)
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/v1"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("status", [200, 503, 500])
def test_a_server_that_answers_is_healthy(status: int, serving: Callable[[int], str]) -> None:
    assert is_healthy(serving(status)) == (status == 200)


def test_a_server_that_accepts_and_stays_silent_is_unhealthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "ANSWER", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not is_healthy(f"http://127.0.0.1:{silent.getsockname()[1]}/v1")


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:1/v1", "nonsense", "http://[", ""])
def test_a_missing_server_is_unhealthy(base_url: str) -> None:
    assert not is_healthy(base_url)
