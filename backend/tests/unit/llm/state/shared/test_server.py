"""What becomes of limits and events while the state server is away, fails or comes back."""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from redis import ResponseError

from backend.utils.llm.state.shared.connection import StateServerConnection
from backend.utils.llm.state.shared.scripts import CHANGE
from backend.utils.llm.state.shared.store import (
    CounterChange,
    LimitState,
    ReservationAnswer,
    SharedEvent,
    SharedLimit,
)
from backend.utils.llm.state.shared.stream import EventListener
from backend.utils.llm.state.shared.unsent import AT_ONCE
from backend.utils.llm.state.shared.valkey import ValkeyStore, _Job

from .conftest import eventually, nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from backend.tests.fakes.valkey import Valkey

SECONDS = 10
LIMIT = SharedLimit("{a}:requests", "window", 1, 1000, 60.0)


@pytest.fixture
def make_store() -> Iterator[Callable[[str], ValkeyStore]]:
    """Makes a process's store at an address."""
    made: list[ValkeyStore] = []

    def make(url: str) -> ValkeyStore:
        made.append(ValkeyStore(SecretStr(url), nothing))
        return made[-1]

    yield make
    for store in made:
        store.close()


def asks(store: ValkeyStore, limit: SharedLimit = LIMIT) -> ReservationAnswer | None:
    """The answer: it always comes."""
    answer: Future[ReservationAnswer | None] = Future()
    store.reserve("a:1", [limit], answer.set_result)
    return answer.result(SECONDS)


def counts(store: ValkeyStore) -> bool:
    """Whether the server has the last word."""
    return asks(store) is not None


def test_a_server_without_memory_counts_as_away_and_answers_nobody_too_late(
    valkey: Valkey, make_store: Callable[[str], ValkeyStore]
) -> None:
    store = make_store(valkey.url)
    assert eventually(lambda: counts(store))
    with valkey.client as client:
        client.config_set("maxmemory", 1)
        try:
            assert eventually(lambda: asks(store) is None and not store.joined)
            assert client.ping()
        finally:
            client.config_set("maxmemory", 0)

    assert eventually(lambda: counts(store))


def test_whoever_asked_a_process_that_has_lost_its_connection_is_told_so() -> None:
    store, told = ValkeyStore(SecretStr("redis://localhost"), nothing), list[object]()

    store._exchange([_Job(("PING",), told.append)])

    assert told == [None]


class Gone:
    """A connection on which everything fails."""

    def run(self, _: object) -> list[Any]:
        raise OSError("gone")

    def close(self) -> None:
        """Nothing is open."""


class Told:
    """A process that has one thing to say."""

    def list_unreported_changes(
        self, bucket_at_age: object, *, include_reported: bool
    ) -> list[CounterChange]:
        return [CounterChange(LIMIT, -1, 1)]

    def list_taken_slots(self) -> list[tuple[SharedLimit, str]]:
        return []

    def on_store_rejoin(self) -> None:
        """Fine."""

    def list_limits_in_use(self) -> list[tuple[SharedLimit, int]]:
        return []

    def set_allowances(self, _: object) -> None:
        """Nothing is."""


class Allowed(Told):
    """A process that uses one limit."""

    def __init__(self) -> None:
        self.rooms: list[object] = []

    def list_limits_in_use(self) -> list[tuple[SharedLimit, int]]:
        return [(LIMIT, 1)]

    def set_allowances(self, rooms: object) -> None:
        self.rooms.append(rooms)


def test_what_was_set_aside_before_the_server_was_silent_is_void_once_it_is_back() -> None:
    store, process = ValkeyStore(SecretStr("redis://localhost"), nothing), Allowed()
    store.reporter = process
    (before,) = store._sets_aside()
    store._join()
    (after,) = store._sets_aside()
    assert before.callback is not None
    assert after.callback is not None

    before.callback([500, 250])
    after.callback([8, 2])

    assert process.rooms == [[(LIMIT, LimitState(8, allowance=2))]]


def test_a_process_does_not_join_a_server_that_is_gone_while_it_reports() -> None:
    store = ValkeyStore(SecretStr("redis://localhost"), nothing)
    store.reporter, store._connection, store._shas = Told(), Gone(), {CHANGE: "sha"}  # type: ignore[assignment]
    store.joined = False

    store._beaten(time.monotonic(), [1, b"a generation", 0])

    assert not store.joined


def test_whatever_fails_the_thread_goes_on_and_everybody_is_told(
    make_store: Callable[[str], ValkeyStore], caplog: pytest.LogCaptureFixture
) -> None:
    store = make_store("unix:///nowhere?colour=red")  # no such option: a TypeError of the client's

    assert asks(store) is None

    assert not store.joined
    assert asks(store) is None
    assert sum("cannot be used" in record.message for record in caplog.records) == 1


def test_what_is_published_after_the_end_is_not_kept(valkey: Valkey) -> None:
    store = ValkeyStore(SecretStr(valkey.url), nothing)
    assert eventually(lambda: counts(store))
    store.close()

    for number in range(3):
        store.publish(SharedEvent("rests", (number,)))

    assert store._at_once == []
    assert store._jobs.empty()


def test_a_server_that_takes_nothing_in_is_seen_to_be_slow(valkey: Valkey) -> None:
    connection = StateServerConnection(SecretStr(valkey.url))
    client, seen = connection._connection, list[float]()
    send = client.send_packed_command

    def sending(command: object) -> None:
        seen.append(connection.asked_at)
        send(command)

    client.send_packed_command = sending
    try:
        connection.run([("PING",)])
    finally:
        connection.close()
    assert seen[0] < math.inf


def test_what_was_given_back_while_the_server_was_away_is_told_when_it_is_back() -> None:
    store = ValkeyStore(SecretStr("redis://localhost"), nothing)
    store.queue_changes(
        [CounterChange(LIMIT, 7, -1), CounterChange(LIMIT, 7, -2), CounterChange(LIMIT, 8, 4)]
    )
    server = Counts()
    store._connection, store._shas = server, {CHANGE: "sha"}  # type: ignore[assignment]
    store.joined = False

    store._beaten(time.monotonic(), [1, b"a generation", 0])

    assert server.told == [(7, -3), (8, 4)]
    assert store.joined


def test_what_was_given_back_means_nothing_to_a_server_that_has_lost_everything() -> None:
    store = ValkeyStore(SecretStr("redis://localhost"), nothing)
    store.queue_changes([CounterChange(LIMIT, 7, -1)])
    server = Counts()
    store._connection, store._shas = server, {CHANGE: "sha"}  # type: ignore[assignment]
    store.joined, store._generation = False, b"before"

    store._beaten(time.monotonic(), [1, b"after", 0])

    assert server.told == []


def test_nothing_is_set_aside_any_more_by_a_server_that_has_lost_everything() -> None:
    store = ValkeyStore(SecretStr("redis://localhost"), nothing)
    store._connection = Counts()  # type: ignore[assignment]
    store.joined, store.is_slow, store._generation = False, True, b"before"

    store._beaten(time.monotonic(), [1, b"after", 0])

    assert not store.joined
    assert not store.is_slow


def test_what_may_have_been_counted_is_told_again_as_far_as_it_adds() -> None:
    store = ValkeyStore(SecretStr("redis://localhost"), nothing)
    store._connection, store._shas = Gone(), {CHANGE: "sha"}  # type: ignore[assignment]
    store._is_there = True
    store.queue_changes([CounterChange(LIMIT, 7, -1), CounterChange(LIMIT, 8, 4)])
    store._beats_at = math.inf
    store._exchange(list(store._due()))
    server = store._connection = Counts()  # type: ignore[assignment]

    store._beaten(time.monotonic(), [1, b"a generation", 0])

    assert server.told == [(8, 4)]


def test_what_is_given_back_is_told_after_what_went_out_without_a_word() -> None:
    store = ValkeyStore(SecretStr("redis://localhost"), nothing)
    store._connection, store._shas, store._is_there = Counts(), {CHANGE: "sha"}, True  # type: ignore[assignment]
    store.joined, store._beats_at, store._renews_at = False, math.inf, math.inf
    store.queue_changes([CounterChange(LIMIT, 7, -1)])
    store.release_slots("a:1", ["{a}:places"], send_now=True)

    assert list(store._due()) == []
    store.joined = True
    assert [job.command[0] for job in store._due()] == ["EVALSHA", "ZREM"]


def test_places_that_were_given_back_while_the_server_was_gone_are_free_when_it_is_back() -> None:
    store = ValkeyStore(SecretStr("redis://localhost"), nothing)
    store.joined = False
    store.release_slots("a:1", ["{a}:places"], send_now=True)
    store.joined, store._beats_at, store._renews_at = True, math.inf, math.inf

    assert [job.command for job in store._due()] == [("ZREM", "{a}:places", "a:1")]


def test_nobody_asks_a_server_that_was_silent_for_those_who_have_gone_on() -> None:
    store, told = ValkeyStore(SecretStr("redis://localhost"), nothing), list[object]()
    server = Counts()
    store._connection = server  # type: ignore[assignment]
    store._beats_at = store._renews_at = time.monotonic() + SECONDS
    store._thread = threading.current_thread()
    store.reserve("a:1", [LIMIT], told.append)
    store.joined = False

    store._take_turn()

    assert told == [None]
    assert server.scripts == 0


def test_much_is_told_in_pieces() -> None:
    store = ValkeyStore(SecretStr("redis://localhost"), nothing)
    store.queue_changes([CounterChange(LIMIT, bucket, 1) for bucket in range(2 * AT_ONCE)])
    server = Counts()
    store._connection, store._shas = server, {CHANGE: "sha"}  # type: ignore[assignment]
    store.joined = False

    store._beaten(time.monotonic(), [1, b"a generation", 0])

    assert (server.scripts, len(server.told)) == (2, 2 * AT_ONCE)


class Counts:
    """A connection to a server that takes every change."""

    def __init__(self) -> None:
        self.scripts = 0
        self.told: list[tuple[int, int]] = []

    def run(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        for _, __, keys, *rest in commands:
            self.scripts += 1
            arguments = rest[keys + 1 :]
            self.told += [(arguments[at + 1], arguments[at + 2]) for at in range(0, 5 * keys, 5)]
        return [0] * len(commands)


class Replies:
    """A connection that has these replies, one round trip after the other, and ends what reads them after the last."""

    def __init__(self, closing: threading.Event, *replies: object) -> None:
        self._closing = closing
        self._replies = list(replies)
        self.asked: list[Sequence[Any]] = []

    def run(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        self.asked += commands
        reply = self._replies.pop(0)
        if not self._replies:
            self._closing.set()
        return [reply]


def test_a_server_whose_clock_is_behind_the_one_before_is_heard() -> None:
    listener = EventListener(SecretStr("redis://localhost"), nothing)
    ahead, behind = (threading.Event() for _ in range(2))
    entry = [[b"events", [(b"1700000000000-0", [])]]]
    listener._read(Replies(ahead, [1_700_000_000, 0], entry), b"a", ahead)  # type: ignore[arg-type]
    after = Replies(behind, [1_600_000_000, 0], None)

    listener._read(after, b"a", behind)  # type: ignore[arg-type]

    assert after.asked[1][-1] == b"1600000000000-0"


def test_a_server_that_does_not_tell_its_time_is_tried_again() -> None:
    listener, closing = EventListener(SecretStr("redis://localhost"), nothing), threading.Event()
    refusing = Replies(closing, ResponseError("NOPERM"))

    with pytest.raises(ResponseError, match="NOPERM"):
        listener._read(refusing, b"a", closing)  # type: ignore[arg-type]


def test_a_listener_goes_on_whatever_fails(caplog: pytest.LogCaptureFixture) -> None:
    listener = EventListener(SecretStr("unix:///nowhere?colour=red"), nothing)
    listener.start("a")

    try:
        assert eventually(lambda: "could not be read" in caplog.text)
        assert any(thread.name == "shared-events" and thread.is_alive() for thread in threading.enumerate())
    finally:
        listener.close()


def test_commands_that_are_asked_at_once_are_one_read_of_the_server(valkey: Valkey) -> None:
    connection = StateServerConnection(SecretStr(valkey.url))
    with valkey.client as client:
        connection.run([("TIME",)])
        before = client.info("stats")["total_reads_processed"]

        replies = connection.run([("TIME",)] * 20)

        assert len(replies) == 20
        assert (
            client.info("stats")["total_reads_processed"] - before == 2
        )  # the other one is the question itself
    connection.close()
