"""What is told of health: each change once, after it is there, and what rests is always what was told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.tests.fakes.clock import Clock
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.state.health import WORTH_TELLING, Circuit, HealthChange, HealthTracker

if TYPE_CHECKING:
    from collections.abc import Callable

CIRCUIT = Circuit("red:m", "key")
KEY = Circuit("red", "key")


class Listener:
    def __init__(self) -> None:
        self.changes: list[HealthChange] = []

    def __call__(self, change: HealthChange) -> None:
        self.changes.append(change)

    @property
    def kinds(self) -> list[str]:
        return [change.kind for change in self.changes]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> Listener:
    return Listener()


@pytest.fixture
def health(clock: Clock, told: Listener) -> HealthTracker:
    made = HealthTracker(clock)
    made.subscribe(told)
    return made


def fail(health: HealthTracker, times: int, *, was_probe: bool = True) -> None:
    for _ in range(times):
        health.record_failure(CIRCUIT, FailureCategory.SERVER, was_probe=was_probe)


def test_answers_and_single_failures_are_nobodys_business(health: HealthTracker, told: Listener) -> None:
    fail(health, 4)
    for _ in range(10):
        health.record_answer(CIRCUIT, key_circuit=KEY)

    assert told.kinds == []


def test_a_breaker_that_opens_is_told_once(health: HealthTracker, told: Listener) -> None:
    fail(health, 5)
    fail(health, 20, was_probe=False)  # those under way then

    assert told.changes == [HealthChange("opened", CIRCUIT, FailureCategory.SERVER, 30.0, 5)]


def test_each_probe_that_finds_it_dead_is_told_with_the_longer_wait(
    health: HealthTracker, told: Listener, clock: Clock
) -> None:
    fail(health, 5)
    clock.now += 31
    assert health.admit_request(CIRCUIT, 1.0, last_resort=False) == "probe"
    fail(health, 1)

    assert [(change.kind, change.seconds) for change in told.changes] == [("opened", 30.0), ("opened", 60.0)]


def test_a_breaker_that_closes_is_told_once(health: HealthTracker, told: Listener, clock: Clock) -> None:
    fail(health, 5)
    clock.now += 31
    health.admit_request(CIRCUIT, 1.0, last_resort=False)
    for _ in range(3):
        health.record_answer(CIRCUIT)

    assert told.kinds == ["opened", "closed"]


def test_a_cooldown_is_told_with_its_end(health: HealthTracker, told: Listener, clock: Clock) -> None:
    health.start_cooldown(KEY, 300.0, FailureCategory.CREDENTIAL)
    clock.now += 301
    health.record_answer(CIRCUIT, key_circuit=KEY)
    health.record_answer(CIRCUIT, key_circuit=KEY)

    assert told.changes == [
        HealthChange("rests", KEY, FailureCategory.CREDENTIAL, 300.0, 0),
        HealthChange("back", KEY, FailureCategory.CREDENTIAL, 0.0, 0),
    ]


def test_a_cooldown_that_calls_wait_for_is_not_told(
    health: HealthTracker, told: Listener, clock: Clock
) -> None:
    for _ in range(5):
        health.start_cooldown(CIRCUIT, WORTH_TELLING - 0.1, FailureCategory.RATE_LIMIT)
        clock.now += WORTH_TELLING
        health.record_answer(CIRCUIT)

    assert told.kinds == []


def test_many_that_are_turned_away_at_once_are_one_cooldown(
    health: HealthTracker, told: Listener, clock: Clock
) -> None:
    for _ in range(100):
        health.start_cooldown(CIRCUIT, 20.0, FailureCategory.RATE_LIMIT)
        clock.now += 0.01

    assert told.kinds == ["rests"]


def test_a_cooldown_that_becomes_long_is_told_then(health: HealthTracker, told: Listener) -> None:
    for seconds in (1.0, 2.0, 60.0, 90.0):
        health.start_cooldown(CIRCUIT, seconds, FailureCategory.RATE_LIMIT)

    assert [change.seconds for change in told.changes] == [60.0]


def test_another_reason_is_news(health: HealthTracker, told: Listener) -> None:
    health.start_cooldown(KEY, 10.0, FailureCategory.RATE_LIMIT)
    health.start_cooldown(KEY, 600.0, FailureCategory.QUOTA)

    assert [change.category for change in told.changes] == [FailureCategory.RATE_LIMIT, FailureCategory.QUOTA]


def test_nobody_is_told_under_the_lock(health: HealthTracker, clock: Clock) -> None:
    held: list[bool] = []
    health.subscribe(lambda _: held.append(health._lock.locked()))
    fail(health, 5)
    health.start_cooldown(KEY, 300.0, FailureCategory.CREDENTIAL)
    clock.now += 400
    health.record_answer(CIRCUIT, key_circuit=KEY)

    assert held == [False] * 4


def test_a_listener_that_raises_changes_nothing_and_keeps_nobody_else_from_knowing(clock: Clock) -> None:
    def broken(_: HealthChange) -> None:
        raise RuntimeError

    told, health = Listener(), HealthTracker(clock)
    health.subscribe(broken)
    health.subscribe(told)
    fail(health, 5)

    assert told.kinds == ["opened"]
    assert health.find_unavailable_reason(CIRCUIT) is not None


def test_who_listens_twice_hears_it_once(health: HealthTracker, told: Listener) -> None:
    health.subscribe(told)
    fail(health, 5)

    assert told.kinds == ["opened"]


def test_nothing_rests_at_first_nor_after_single_failures(health: HealthTracker) -> None:
    fail(health, 4)

    assert health.list_unhealthy_circuits() == ()


def test_what_rests_says_since_when_and_for_how_long(health: HealthTracker, clock: Clock) -> None:
    fail(health, 5)
    clock.now += 10
    (resting,) = health.list_unhealthy_circuits()

    assert (resting.kind, resting.since, resting.seconds, resting.failures) == ("open", 10.0, 20.0, 5)


@pytest.mark.parametrize(
    ("seconds", "is_probed", "kind"),
    [(0, False, "open"), (31, False, "half open"), (31, True, "probing")],
)
def test_what_rests_says_what_the_next_call_does(
    health: HealthTracker,
    clock: Clock,
    seconds: float,
    is_probed: bool,  # noqa: FBT001
    kind: str,
) -> None:
    fail(health, 5)
    clock.now += seconds
    if is_probed:
        health.admit_request(CIRCUIT, 1.0, last_resort=False)

    assert [circuit.kind for circuit in health.list_unhealthy_circuits()] == [kind]


def test_whose_key_it_is_makes_no_difference_between_two_circuits() -> None:
    theirs = Circuit("red:m", "key", "user", "eu")

    assert theirs == CIRCUIT
    assert hash(theirs) == hash(CIRCUIT)
    assert (theirs.owner, theirs.account) == ("user", "eu")


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["answered", "failed", "straggler", "cool", "short", "admit"]), st.integers(0, 90)
    ),
    max_size=60,
)


@given(EVENTS)
def test_what_is_told_and_what_rests_are_the_same_whatever_happens(events: list[tuple[str, int]]) -> None:
    clock, told = Clock(), Listener()
    health = HealthTracker(clock)
    health.subscribe(told)
    act: dict[str, Callable[[], object]] = {
        "answered": lambda: health.record_answer(CIRCUIT),
        "failed": lambda: health.record_failure(CIRCUIT, FailureCategory.SERVER),
        "straggler": lambda: health.record_failure(CIRCUIT, FailureCategory.SERVER, was_probe=False),
        "cool": lambda: health.start_cooldown(CIRCUIT, 30.0, FailureCategory.RATE_LIMIT),
        "short": lambda: health.start_cooldown(CIRCUIT, 1.0, FailureCategory.RATE_LIMIT),
        "admit": lambda: health.admit_request(CIRCUIT, 5.0, last_resort=True),
    }
    for event, seconds in events:
        clock.now += seconds
        act[event]()

    is_open = is_cooling = False
    for change in told.changes:
        assert change.kind != "closed" or is_open
        assert change.kind != "back" or is_cooling
        is_open = {"opened": True, "closed": False}.get(change.kind, is_open)
        is_cooling = {"rests": True, "back": False}.get(change.kind, is_cooling)
    if is_open or is_cooling:
        assert len(health.list_unhealthy_circuits()) == 1
    else:
        assert all(
            circuit.category is FailureCategory.RATE_LIMIT for circuit in health.list_unhealthy_circuits()
        )
