"""What every store of shared state does, in memory and on a real server."""

from __future__ import annotations

import math
from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from backend.tests.fakes.clock import Clock
from backend.tests.fakes.shared_memory import MemoryStore, SharedMemory
from backend.utils.llm.state.shared.store import (
    KEPT_ASIDE_SECONDS,
    LEASE_SECONDS,
    SLACK,
    CounterChange,
    ReservationAnswer,
    SharedEvent,
    SharedLimit,
)
from backend.utils.llm.state.shared.valkey import ValkeyStore

from .conftest import NOON, eventually, nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backend.tests.fakes.valkey import Valkey
    from backend.utils.llm.state.shared.store import StateStore

    from .conftest import Join

SECONDS = 10
MINUTE = 60.0


def asked(store: StateStore, *limits: SharedLimit, name: str = "a:1") -> ReservationAnswer:
    """The store's answer."""
    answer: Future[ReservationAnswer | None] = Future()
    store.reserve(name, limits, answer.set_result)
    told = answer.result(SECONDS)
    return told or ReservationAnswer(granted=False, rooms=())


def per_minute(most: int, ask: int = 1, key: str = "{a}:requests") -> SharedLimit:
    return SharedLimit(key, "window", ask, most, MINUTE)


def places(most: int) -> SharedLimit:
    return SharedLimit("{a}:places", "places", 1, most)


def test_what_one_process_lets_out_counts_for_the_others(join: Join) -> None:
    one, other = join(), join()

    granted = [asked(store, per_minute(3)).granted for store in (one, other, one, other)]

    assert granted == [True, True, True, False]


def test_all_limits_of_a_request_have_room_or_nothing_is_taken(join: Join) -> None:
    store = join()
    roomy, narrow = per_minute(100), per_minute(5, 10, "{a}:tokens")

    refused = asked(store, roomy, narrow)

    assert not refused.granted
    assert asked(store, roomy).rooms[0].left == 99


def test_a_refusal_says_when_there_is_room_and_then_there_is(join: Join, clock: Clock) -> None:
    store = join()
    asked(store, per_minute(1))
    clock.now += 20

    room = asked(store, per_minute(1)).rooms[0]

    assert 40 <= room.wait <= 40 + MINUTE * SLACK + 0.2
    clock.now += room.wait - 0.01
    assert not asked(store, per_minute(1)).granted
    clock.now += 0.02
    assert asked(store, per_minute(1)).granted


def test_what_is_given_back_is_free_at_once(join: Join) -> None:
    store, limit = join(), per_minute(100, 60, "{a}:tokens")
    bucket = asked(store, limit).rooms[0].bucket

    store.queue_changes([CounterChange(limit, bucket, -50)])

    assert eventually(lambda: asked(store, limit._replace(ask=0)).rooms[0].left == 90)


def test_what_is_given_back_too_late_gives_nobody_room(join: Join, clock: Clock) -> None:
    store, limit = join(), per_minute(100, 60, "{a}:tokens")
    bucket = asked(store, limit).rooms[0].bucket
    clock.now += 2 * MINUTE

    store.queue_changes([CounterChange(limit, bucket, -50)])
    store.queue_changes([CounterChange(limit, -1, 10)])

    assert eventually(lambda: asked(store, limit._replace(ask=0)).rooms[0].left == 90)


@pytest.mark.parametrize(
    "limit", [per_minute(100), places(100), SharedLimit("{a}:day", "total", 1, 100, 90_000.0)]
)
def test_what_is_set_aside_for_one_process_is_there_for_no_other_until_it_is_over(
    join: Join, clock: Clock, limit: SharedLimit
) -> None:
    one, nothing_more = join(), limit._replace(ask=0)
    aside = asked(one, limit, name="a:1").rooms[0].allowance
    assert aside is not None
    assert 1 <= aside <= 49
    other = join()

    left = asked(other, nothing_more, name="b:1").rooms[0].left

    assert left <= 99 - aside
    assert not asked(other, limit._replace(ask=left + 1), name="b:2").granted
    clock.now += KEPT_ASIDE_SECONDS + 0.01
    asked(other, nothing_more, name="b:3")  # has something set aside anew, and sees what is over
    assert asked(other, limit._replace(ask=99 - 2), name="b:4").granted


def test_what_is_set_aside_for_a_process_is_there_for_it(join: Join) -> None:
    one = join()
    asked(one, per_minute(3))

    assert [asked(one, per_minute(3)).granted for _ in range(3)] == [True, True, False]


def test_a_total_stays_until_its_end(join: Join, clock: Clock) -> None:
    store, day = join(), SharedLimit("{a}:tokens:2026-11-21", "total", 60, 100, 90_000.0)
    asked(store, day)
    clock.now += 10 * MINUTE

    room = asked(store, day).rooms[0]

    assert (room.left, room.wait) == (40, math.inf)


def test_a_place_is_taken_until_it_is_given_back(join: Join) -> None:
    one, other = join(), join()
    assert asked(one, places(1), name="a:1").granted
    assert not asked(other, places(1), name="b:1").granted

    one.release_slots("a:1", ["{a}:places"], send_now=True)

    assert eventually(lambda: asked(other, places(1), name="b:1").granted)


def test_a_place_of_a_process_that_is_gone_is_free_after_its_lease(join: Join, clock: Clock) -> None:
    gone, other = join(), join()
    asked(gone, places(1), name="a:1")

    clock.now += LEASE_SECONDS - 0.01
    assert not asked(other, places(1), name="b:1").granted
    clock.now += 0.02
    assert asked(other, places(1), name="b:1").granted


def test_an_event_reaches_all_others_and_not_who_tells_it(join: Join) -> None:
    heard: dict[str, list[SharedEvent]] = {"a": [], "b": [], "c": []}
    stores = {name: join(_into(events)) for name, events in heard.items()}
    for store in stores.values():
        store.start()

    stores["a"].publish(SharedEvent("rests", ("openai:gpt-6-luna", 1)))

    expected = [SharedEvent("rests", ("openai:gpt-6-luna", 1))]
    assert eventually(lambda: heard["b"] == heard["c"] == expected)
    assert heard["a"] == []


def _into(events: list[SharedEvent]) -> Callable[[SharedEvent, float], None]:
    return lambda event, _: events.append(event)


def test_figures_add_up_on_their_way(join: Join) -> None:
    heard: list[SharedEvent] = []
    teller, listener = join(), join(_into(heard))
    listener.start()

    for _ in range(5):
        teller.publish(SharedEvent("retries", ("openai", 1)), merge=_sum)

    assert eventually(lambda: sum(event.values[1] for event in heard) == 5)


def _sum(one: SharedEvent, other: SharedEvent) -> SharedEvent:
    return SharedEvent(one.kind, (one.values[0], one.values[1] + other.values[1]))


def test_each_process_is_counted_while_it_is_there(join: Join) -> None:
    one, other = join(), join()
    one.start()
    other.start()
    assert eventually(lambda: one.processes == 2)

    other.close()

    assert eventually(lambda: one.processes == 1)


def test_whoever_does_not_take_an_answer_does_not_stop_the_others(valkey: Valkey) -> None:
    store = ValkeyStore(SecretStr(valkey.url), nothing)

    def broken(_: object) -> None:
        raise ValueError("broken")

    store.reserve("a:1", [places(5)], broken)

    try:
        assert eventually(lambda: store.away_since is None and asked(store, places(5)).granted)
    finally:
        store.close()


Steps = st.lists(st.tuples(st.integers(0, 50_000), st.integers(1, 40), st.booleans()), max_size=25)


@given(steps=Steps)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_server_counts_as_memory_does(valkey: Valkey, steps: Sequence[tuple[int, int, bool]]) -> None:
    with valkey.client as client:
        client.flushall()
    clock = Clock(NOON)
    memory = MemoryStore(SharedMemory(clock), nothing)
    server = ValkeyStore(SecretStr(valkey.url), nothing, now=lambda: round(1000 * clock.now))
    granted: list[tuple[float, int]] = []
    try:
        for number, (milliseconds, ask, is_given_back) in enumerate(steps):
            clock.now = round(clock.now + milliseconds / 1000, 3)
            limits = per_minute(100, ask), places(3)
            told = [asked(store, *limits, name=f"a:{number}") for store in (memory, server)]
            assert told[0].granted == told[1].granted
            assert [room.left for room in told[0].rooms] == [room.left for room in told[1].rooms]
            assert [room.allowance for room in told[0].rooms] == [room.allowance for room in told[1].rooms]
            assert told[0].rooms[0].wait == pytest.approx(told[1].rooms[0].wait, abs=0.002)
            if told[0].granted and is_given_back:
                change = CounterChange(limits[0], told[0].rooms[0].bucket, -(ask // 2))
                for store in (memory, server):
                    store.queue_changes([change])
                    store.release_slots(f"a:{number}", [limits[1].key], send_now=False)
            if told[0].granted:
                granted.append((clock.now, ask - (ask // 2 if is_given_back else 0)))
    finally:
        server.close()
    for at, _ in granted:
        assert sum(amount for when, amount in granted if at <= when < at + MINUTE) <= 100
