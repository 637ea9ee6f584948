"""How quick an endpoint is, and how often it fails."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.utils.llm.state.latency import (
    FADES,
    FAILURE_SECONDS,
    FailureRate,
    LatencyEstimate,
    latency_after_answer,
    latency_after_failure,
)

times = st.floats(0.001, 100)
pauses = st.floats(0, 100)


@given(answers=st.lists(st.tuples(times, pauses), min_size=1))
def test_it_lies_between_the_quickest_answer_and_the_slowest(answers: list[tuple[float, float]]) -> None:
    latency, now = None, 0.0
    for seconds, pause in answers:
        now += pause
        latency = latency_after_answer(latency, seconds, now)

    assert latency is not None
    quickest, slowest = min(answers)[0], max(answers)[0]
    assert quickest - 1e-9 <= latency.seconds <= slowest + 1e-9


@given(before=times, answer=times, pause=pauses)
def test_each_answer_brings_it_nearer_by_three_tenths_at_least(
    before: float, answer: float, pause: float
) -> None:
    after = LatencyEstimate(before, 0.0).with_answer(answer, pause)

    assert abs(after.seconds - answer) <= 0.7 * abs(before - answer) + 1e-9


def test_the_longer_the_pause_the_more_the_next_answer_counts() -> None:
    known = LatencyEstimate(1.0, 0.0)

    after = [known.with_answer(0.0, pause).seconds for pause in (0.1, 1.0, 2.0, 60.0)]

    assert after == [0.7, 0.5, 0.25, pytest.approx(0.0, abs=1e-9)]


def test_the_second_answer_replaces_the_first() -> None:
    """Connections were set up for that one, and caches were cold."""
    first = latency_after_answer(None, 10.0, 0.0)

    assert first.with_answer(1.0, 0.0).seconds == 1.0
    assert first.with_answer(1.0, 0.0).with_answer(2.0, 0.0).seconds == 1.3


@given(before=times, age=pauses)
def test_hope_grows_to_half_and_no_further(before: float, age: float) -> None:
    known = LatencyEstimate(before, 0.0)

    assert known.expected_seconds(0.0) == before
    assert 0.5 * before <= known.expected_seconds(age) <= before
    assert known.expected_seconds(FADES) == 0.5 * before


@given(before=times, failure=times, pause=pauses)
def test_no_failure_makes_it_quicker(before: float, failure: float, pause: float) -> None:
    assert LatencyEstimate(before, 0.0).with_failure(failure, pause).seconds >= before


def test_a_failure_that_takes_long_makes_it_slower() -> None:
    assert LatencyEstimate(1.0, 0.0).with_failure(30.0, 0.0).seconds == pytest.approx(9.7)


@pytest.mark.parametrize(("seconds", "taken_for"), [(0.005, FAILURE_SECONDS), (60.0, 60.0)])
def test_what_has_only_failed_so_far_is_slow_until_it_answers(seconds: float, taken_for: float) -> None:
    failed = latency_after_failure(None, seconds, 0.0)

    assert failed.seconds == taken_for
    assert latency_after_failure(failed, 0.005, 1.0).with_answer(0.1, 1.0).seconds == pytest.approx(0.1)


class TestFailing:
    """How often it fails."""

    @given(outcomes=st.lists(st.booleans()))
    def test_it_is_a_share(self, outcomes: list[bool]) -> None:
        failing = FailureRate()
        for failed in outcomes:
            failing = failing.with_request(0.0, failed=failed)

        assert 0 <= failing.share <= 1

    @pytest.mark.parametrize(
        ("outcomes", "is_too_often"),
        [("f", False), ("ff", True), ("sf" * 20, True), ("ff" + "s" * 2, False), ("sssssssssf" * 5, False)],
    )
    def test_two_in_a_row_are_too_often_and_so_are_half(self, outcomes: str, is_too_often: bool) -> None:  # noqa: FBT001
        failing = FailureRate()
        for outcome in outcomes:
            failing = failing.with_request(0.0, failed=outcome == "f")

        assert failing.is_too_high(0.0) is is_too_often

    def test_time_forgives(self) -> None:
        failing = FailureRate(share=0.6, at=100.0)

        assert failing.is_too_high(120.0)
        assert not failing.is_too_high(130.0)
