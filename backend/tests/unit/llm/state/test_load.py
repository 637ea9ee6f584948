"""How busy, how much used, how quick each endpoint is, with each key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.tests.fakes.clock import Clock
from backend.utils.llm.state.load import HALF_LIFE, InFlightRequests, TargetLoads

A, B = ("red:m", "key"), ("red:m", "another key")
HOUR = 3600.0


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def targets(clock: Clock) -> TargetLoads:
    return TargetLoads(clock)


def test_a_request_is_under_way_until_it_ends(targets: TargetLoads) -> None:
    targets.record_start(A, 1, HOUR)
    targets.record_start(A, 2, HOUR)
    targets.record_end(A, 1)

    assert (targets.in_flight_count(A), targets.in_flight_count(B)) == (1, 0)


def test_what_ends_twice_or_never_began_changes_nothing(targets: TargetLoads) -> None:
    targets.record_start(A, 1, HOUR)
    for number in (2, 1, 1):
        targets.record_end(A, number)
        targets.record_end(B, number)

    assert (targets.in_flight_count(A), targets.in_flight_count(B)) == (0, 0)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(1, 50)), max_size=60))
def test_lost_requests_are_forgotten_when_their_time_is_up_and_others_are_not(
    events: list[tuple[bool, int, int]],
) -> None:
    """Whichever began first, and whatever ended meanwhile."""
    in_flight, known = InFlightRequests(), dict[int, float]()
    for now, (begins, number, seconds) in enumerate(events):
        if begins:
            in_flight.add(number, now + seconds)
            known[number] = now + seconds
        else:
            in_flight.remove(number)
            known.pop(number, None)
        assert in_flight.count(now) == sum(until > now for until in known.values())


def test_a_request_of_a_minute_ago_counts_half(targets: TargetLoads, clock: Clock) -> None:
    targets.record_start(A, 1, HOUR)
    clock.now += HALF_LIFE
    targets.record_start(A, 2, HOUR)

    assert targets.recent_request_count(A) == pytest.approx(1.5)
    assert targets.recent_request_count(B) == 0


@given(st.lists(st.tuples(st.sampled_from([A, B]), st.floats(0, 1000)), min_size=1, max_size=50))
def test_who_has_the_least_heat_was_used_least(requests: list[tuple[tuple[str, str], float]]) -> None:
    clock = Clock()
    targets = TargetLoads(clock)
    for number, (target, pause) in enumerate(requests):
        clock.now += pause
        targets.record_start(target, number, HOUR)

    one, other = targets.list_loads([A, B])
    if abs(targets.recent_request_count(A) - targets.recent_request_count(B)) > 1e-6:
        assert (one.recent_requests < other.recent_requests) == (
            targets.recent_request_count(A) < targets.recent_request_count(B)
        )


def test_weeks_of_work_do_not_wear_it_out(targets: TargetLoads, clock: Clock) -> None:
    clock.now = 90 * 86_400.0
    for number in range(3):
        targets.record_start(A, number, clock.now + 1)

    assert targets.recent_request_count(A) == pytest.approx(3.0)


def test_who_catches_up_is_as_used_as_the_other_and_never_less_than_it_was(targets: TargetLoads) -> None:
    targets.record_start(A, 1, HOUR)
    recent_requests = targets.list_loads([A])[0].recent_requests

    targets.set_min_recent_requests(B, recent_requests)
    targets.set_min_recent_requests(A, recent_requests - 1)

    assert (targets.recent_request_count(A), targets.recent_request_count(B)) == (1.0, 1.0)


def test_streams_and_whole_answers_are_timed_apart(targets: TargetLoads) -> None:
    targets.record_answer(A, "total", 3.0)
    targets.record_answer(A, "first_token", 0.2)

    total, first = targets.mean_latency(A, "total"), targets.mean_latency(A, "first_token")
    assert total is not None
    assert first is not None
    assert (total.seconds, first.seconds) == (3.0, 0.2)


def test_what_is_not_known_is_not_guessed(targets: TargetLoads) -> None:
    targets.record_start(A, 1, HOUR)

    assert targets.mean_latency(A, "total") is None
    assert targets.list_loads([A, B])[0].failing is None


def test_a_failure_marks_an_endpoint_as_failing_and_answers_clear_it(targets: TargetLoads) -> None:
    targets.record_failure(A, "total", 0.005)
    shares = []
    for _ in range(3):
        failing = targets.list_loads([A])[0].failing
        assert failing is not None
        shares.append(failing.share)
        targets.record_answer(A, "total", 0.1)

    assert shares == [0.2, pytest.approx(0.16), pytest.approx(0.128)]
