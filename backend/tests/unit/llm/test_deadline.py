"""No call outlives its deadline, whatever the provider does, and what is left of it is shared out."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from typing_extensions import override

from backend.utils.llm import MemorySink
from backend.utils.llm.clock import Time
from backend.utils.llm.errors import (
    AllAttemptsFailedError,
    CallTimeoutError,
    LLMError,
    ProviderDownError,
    RateLimitedError,
)
from backend.utils.llm.options import Options
from backend.utils.llm.testing import (
    Cut,
    Empty,
    Hang,
    KeepAlive,
    LoopbackProvider,
    SlowFirstByte,
    Status,
    StreamError,
    Text,
    Trickle,
)
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_patchbay

from .drivers import DRIVERS, astream, invoke
from .samples import receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backend.utils.llm.testing import Reply
    from backend.utils.llm.testing.virtual_time import VirtualTime

    from .conftest import Make
    from .drivers import Driver

    Conduct = Callable[[socket.socket, threading.Event], None]

OPENAI, GEMINI = "openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"
ENDPOINTS = {"over_openai": OPENAI, "over_gemini": GEMINI, "over_anthropic": "anthropic:claude-sonnet-5-5"}
DEADLINE = 0.2
SLACK = 25.0
"""What a busy machine may add. On an idle one, 0.2 s is enough; a fault that is not ended goes on for a minute."""
ROW = f"[features.f]\ndeadline = {DEADLINE}"
AT_ONCE = Time(random=lambda: 0.0)
"""The real clocks, and no waits before retries."""
A_MINUTE = 60.0

FAULTS: dict[str, Reply] = {
    "hang": Hang(),
    "slow to begin": SlowFirstByte(A_MINUTE, Text("late")),
    "slow to fail": SlowFirstByte(0.15, Status(503)),
    "trickle": Trickle(Text("word " * 600, chunks=600), 0.1),
    "trickle and silence": Trickle(Text("word " * 8, chunks=4), 10.0),
    "signs of life": KeepAlive(0.05, Text("late"), 1200),
    "error that trickles": Trickle(Status(503), 10.0),
    "error after signs of life": KeepAlive(0.05, StreamError(0, "", {"message": "late"}), 1200),
    "down": Status(503),
    "down for a little": Status(503, retry_after=0.1),
    "down for long": Status(503, retry_after=30),
    "busy": Status(429),
    "busy for a little": Status(429, retry_after=0.1),
    "busy for long": Status(429, retry_after=30),
    "busy until a day": Status(429, retry_after="Fri, 21 Nov 2099 12:00:00 GMT"),
    "cut": SlowFirstByte(0.1, Cut(0, "one two three")),
    "empty": SlowFirstByte(0.1, Empty()),
}


class Port:
    """Where a server listens that no HTTP library is."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))

    @property
    def gemini_url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def anthropic_url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def openai_url(self) -> str:
        return f"{self.gemini_url}/v1"


class Misbehaving(Port):
    """A server that does to each connection what ``conduct`` says: what no HTTP library could be made to do."""

    def __init__(self, conduct: Conduct, *, receive_buffer: int | None = None) -> None:
        self._conduct = conduct
        self._closing = threading.Event()
        self._connections: list[socket.socket] = []
        super().__init__()
        if receive_buffer is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    @property
    def connections(self) -> int:
        return len(self._connections)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._conduct(connection, self._closing)


def read_request(connection: socket.socket) -> None:
    """Take in one request, which ends with its JSON."""
    read = b""
    while b"\r\n\r\n" not in read or not read.rstrip().endswith(b"}"):
        piece = connection.recv(65536)
        if not piece:
            return
        read += piece


def never_reads(_: socket.socket, closing: threading.Event) -> None:
    closing.wait(A_MINUTE)


def drips_its_status(connection: socket.socket, closing: threading.Event) -> None:
    read_request(connection)
    for byte in b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n":
        connection.sendall(bytes([byte]))
        closing.wait(0.05)


def never_ends_its_headers(connection: socket.socket, closing: threading.Event) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(1000):
        connection.sendall(b"x-%d: y\r\n" % number)
        closing.wait(0.05)


def asks_to_go_on_for_ever(connection: socket.socket, closing: threading.Event) -> None:
    read_request(connection)
    while not closing.wait(0.02):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def drips_an_error(connection: socket.socket, closing: threading.Event) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 10000\r\n\r\n")
    while not closing.wait(0.02):
        connection.sendall(b"x")


def says_nothing_after_its_head(connection: socket.socket, closing: threading.Event) -> None:
    read_request(connection)
    connection.sendall(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    closing.wait(A_MINUTE)


def floods(connection: socket.socket, closing: threading.Event) -> None:
    read_request(connection)
    connection.sendall(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    comments = b": still here\n\n" * 100
    while not closing.wait(0.005):
        connection.sendall(b"%x\r\n%s\r\n" % (len(comments), comments))


CONDUCTS = [
    never_reads,
    drips_its_status,
    never_ends_its_headers,
    asks_to_go_on_for_ever,
    drips_an_error,
    says_nothing_after_its_head,
    floods,
]


def reads_slowly(connection: socket.socket, closing: threading.Event) -> None:
    while connection.recv(262_144) and not closing.wait(1.0):
        pass


class Exceeded(Port):
    """A port whose queue of connections is full: one more is neither taken nor refused."""

    def __init__(self) -> None:
        super().__init__()
        self._listener.listen(0)
        self._waiting = [socket.socket() for _ in range(4)]
        for one in self._waiting:
            one.settimeout(0)
            one.connect_ex(self._listener.getsockname())

    def close(self) -> None:
        for one in [*self._waiting, self._listener]:
            one.close()


def chain_of(chain: str) -> list[str]:
    """The endpoints of a feature with a fallback."""
    return [OPENAI, GEMINI] if chain == "openai_then_gemini" else [GEMINI, OPENAI]


def first_model(chain: str) -> str:
    """The model that is asked first."""
    return chain_of(chain)[0].partition(":")[2]


@pytest.fixture
def full() -> Iterator[Exceeded]:
    """A server to which nobody can connect."""
    made = Exceeded()
    yield made
    made.close()


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """The SDKs are imported: no call here pays for that."""
    with LoopbackProvider() as provider:
        patchbay = loopback_patchbay(provider, ENDPOINTS)
        for feature in ENDPOINTS:
            for driver in DRIVERS:
                driver(patchbay.get_llm(feature), "hi")
        patchbay.close()


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """What is done inside does not take longer."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


class TestDeadline:
    """However a provider delays, the call is over in time, with every request on record."""

    @pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
    def test_whatever_a_provider_answers_a_call_is_over_at_its_deadline(
        self, feature: str, call: Driver, provider: LoopbackProvider, fault: Reply, make: Make
    ) -> None:
        patchbay = make(ENDPOINTS[feature], ROW)
        provider.always(fault)

        with at_most(DEADLINE + SLACK), pytest.raises(LLMError) as caught:
            call(patchbay.get_llm("f"), "hi")

        assert len(caught.value.attempts) >= len(provider.requests)
        assert len(patchbay.runtime.transport.tickets) == 0

    @pytest.mark.parametrize("conduct", CONDUCTS, ids=lambda conduct: conduct.__name__)
    def test_whatever_a_server_does_to_a_connection_a_call_is_over_at_its_deadline(
        self, feature: str, call: Driver, conduct: Conduct, make: Make
    ) -> None:
        with Misbehaving(conduct) as server:
            patchbay = make(ENDPOINTS[feature], ROW, server=server)

            with at_most(DEADLINE + SLACK), pytest.raises(LLMError) as caught:
                call(patchbay.get_llm("f"), "hi")

            assert len(caught.value.attempts) >= server.connections
            assert len(patchbay.runtime.transport.tickets) == 0

    def test_a_server_that_reads_slowly_does_not_hold_a_call_up(
        self, feature: str, call: Driver, make: Make
    ) -> None:
        endpoint = ENDPOINTS[feature]
        row = f"[features.f]\ndeadline = 1.0\n[models.'{endpoint}']\ncontext_window = 100_000_000"
        with Misbehaving(reads_slowly) as server:
            patchbay = make(endpoint, row, server=server)

            with pytest.raises(CallTimeoutError) as caught:
                call(patchbay.get_llm("f"), "word " * 4_000_000)
        assert caught.value.attempts[0].duration.total_seconds() < 1.0 + SLACK

    def test_a_refused_connection_is_reported_before_the_deadline(
        self, feature: str, call: Driver, make: Make
    ) -> None:
        with LoopbackProvider() as gone:
            patchbay = make(ENDPOINTS[feature], ROW, server=gone)

        with at_most(DEADLINE + SLACK), pytest.raises((ProviderDownError, CallTimeoutError)):
            call(patchbay.get_llm("f"), "hi")

    def test_a_chain_has_one_deadline_for_all(
        self, chain: str, call: Driver, provider: LoopbackProvider, make: Make
    ) -> None:
        endpoints = chain_of(chain)
        patchbay = make(endpoints, ROW)
        provider.always(Hang())

        with at_most(DEADLINE + SLACK), pytest.raises((CallTimeoutError, AllAttemptsFailedError)) as caught:
            call(patchbay.get_llm("f"), "hi")

        assert len(caught.value.attempts) >= len(provider.requests)

    def test_waiting_for_a_retry_counts_against_the_deadline(
        self, feature: str, call: Driver, provider: LoopbackProvider, virtual: VirtualTime, make: Make
    ) -> None:
        row = "[features.f]\ndeadline = 10"
        patchbay = make(ENDPOINTS[feature], row, time=virtual.time)
        provider.always(Status(429, retry_after=6))

        with pytest.raises(RateLimitedError):
            call(patchbay.get_llm("f"), "hi")

        assert virtual.slept == [6]

    def test_a_hint_beyond_the_deadline_is_reported_at_once(
        self, feature: str, call: Driver, provider: LoopbackProvider, virtual: VirtualTime, make: Make
    ) -> None:
        row = "[features.f]\ndeadline = 10"
        patchbay = make(ENDPOINTS[feature], row, time=virtual.time)
        provider.always(Status(429, retry_after=11))

        with pytest.raises(RateLimitedError) as caught:
            call(patchbay.get_llm("f"), "hi")

        assert virtual.slept == []
        assert len(provider.requests) == 1
        assert caught.value.retry_after == 11

    def test_an_option_of_the_call_may_make_its_attempts_shorter(
        self, feature: str, call: Driver, provider: LoopbackProvider, make: Make
    ) -> None:
        patchbay = make(ENDPOINTS[feature], "[features.f]\nattempts = 1", time=AT_ONCE)
        provider.always(Hang())

        with at_most(DEADLINE + SLACK), pytest.raises(CallTimeoutError):
            call(patchbay.get_llm("f").bind(timeout=DEADLINE), "hi")

    def test_an_answer_just_in_time_is_an_answer(
        self, feature: str, call: Driver, provider: LoopbackProvider, make: Make
    ) -> None:
        patchbay = make(ENDPOINTS[feature], "[features.f]\ndeadline = 30")
        provider.always(SlowFirstByte(0.2, Trickle(Text("one two three", chunks=3), 0.05)))

        assert call(patchbay.get_llm("f"), "hi").text == "one two three"


class TestConnecting:
    """A connection that is not made is not waited for longer than ``connect_timeout`` says."""

    def test_a_connection_that_is_not_made_is_given_up_in_its_own_time(
        self, feature: str, call: Driver, full: Exceeded, make: Make
    ) -> None:
        row = "[features.f]\nattempts = 1\noptions = { connect_timeout = 0.2 }"
        patchbay = make(ENDPOINTS[feature], row, server=full)

        with at_most(Options().connect_timeout), pytest.raises(CallTimeoutError) as caught:
            call(patchbay.get_llm("f"), "hi")

        assert caught.value.attempts[0].status is None

    def test_what_is_cancelled_while_it_connects_has_used_nothing(self, full: Exceeded, make: Make) -> None:
        sink = MemorySink()
        row = "[features.f]\noptions = { connect_timeout = 30 }"
        patchbay = make(ENDPOINTS["over_openai"], row, server=full, ledger=sink)
        patchbay.warm_up()

        async def cancel() -> None:
            task = asyncio.create_task(patchbay.get_llm("f").ainvoke("hi"))
            while not len(patchbay.runtime.transport.tickets):  # noqa: ASYNC110 - a ticket tells nobody
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        asyncio.run(cancel())

        assert [(record.outcome, record.input, record.cost) for record in sink.records] == [
            ("cancelled", 0, 0)
        ]

    def test_it_leaves_time_for_the_next_endpoint(
        self, call: Driver, provider: LoopbackProvider, full: Exceeded, make: Make
    ) -> None:
        other = f"""
[providers.elsewhere]
api = "openai"
base_url = "{full.openai_url}"
api_key_env = "LOOPBACK_OPENAI_KEY"

[models."elsewhere:gpt-6-luna"]
options = {{ connect_timeout = 0.2 }}
"""
        chain = ["elsewhere:gpt-6-luna", GEMINI]
        patchbay = make(chain, other, environ=HOUSE_KEYS, time=AT_ONCE)
        provider.script(Text("from the second"))

        message = call(patchbay.get_llm("f"), "hi")

        assert message.text == "from the second"
        assert {attempt["endpoint"] for attempt in receipt(message)["attempts"][:-1]} == {chain[0]}

    def test_an_answer_may_take_longer_than_a_connection(
        self, feature: str, call: Driver, provider: LoopbackProvider, make: Make
    ) -> None:
        row = "[features.f]\noptions = { connect_timeout = 0.5 }"
        patchbay = make(ENDPOINTS[feature], row)
        provider.always(SlowFirstByte(0.6, Text("late, and in time")))

        assert call(patchbay.get_llm("f"), "hi").text == "late, and in time"


@pytest.mark.parametrize("call", [invoke, astream])
class TestShares:
    """An endpoint that dawdles must not use up the time of the next one."""

    def test_an_attempt_with_a_time_of_its_own_leaves_the_rest(
        self, chain: str, call: Driver, provider: LoopbackProvider, make: Make
    ) -> None:
        row = f"[models.'{chain_of(chain)[0]}']\noptions = {{ timeout = 0.2 }}"
        patchbay = make(chain_of(chain), row, time=AT_ONCE)
        provider.always(Hang(), model=first_model(chain))

        began = time.monotonic()
        message = call(patchbay.get_llm("f"), "hi")

        assert time.monotonic() - began >= 0.4
        attempts = receipt(message)["attempts"]
        assert [attempt["category"] for attempt in attempts] == ["timeout", "timeout", None]

    def test_a_hint_that_leaves_no_time_for_the_next_one_is_not_waited_for(
        self, chain: str, call: Driver, provider: LoopbackProvider, virtual: VirtualTime, make: Make
    ) -> None:
        row = "[features.f]\ndeadline = 10"
        patchbay = make(chain_of(chain), row, time=virtual.time)
        provider.always(Status(429, retry_after=9.5), model=first_model(chain))

        call(patchbay.get_llm("f"), "hi")

        assert virtual.slept == []


class EachTokenTakes(BaseCallbackHandler):
    """So many seconds pass with each token of a stream."""

    raise_error = True

    def __init__(self, seconds: float, time: VirtualTime) -> None:
        self._seconds = seconds
        self._time = time

    @override
    def on_llm_new_token(self, token: str, **_: Any) -> None:  # type: ignore[override]
        if token:
            self._time.sleep(self._seconds)


def test_a_stream_that_has_begun_may_take_all_that_is_left(
    chain: str, stream: Driver, provider: LoopbackProvider, virtual: VirtualTime, make: Make
) -> None:
    """Two thirds of 60 seconds are over with the fifth token."""
    patchbay = make(chain_of(chain), "[features.f]\ndeadline = 60", time=virtual.time)
    provider.always(Trickle(Text("one two three four five six", chunks=6), 0.05))

    slow = EachTokenTakes(9, virtual)
    message = stream(patchbay.get_llm("f").with_config(callbacks=[slow]), "hi")

    assert message.text == "one two three four five six"
    assert receipt(message)["degraded"] is False
    assert virtual.clock() == 54
