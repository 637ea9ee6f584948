"""Where the slow tail of an endpoint begins, and how many hedges a feature has earned."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.utils.llm.state.tail_latency import (
    CALLS_PER_HEDGE,
    ENOUGH,
    MOST_SAVED,
    REMEMBERED,
    HedgeBudget,
    RecentLatencies,
    TailLatencyTracker,
)

seconds = st.floats(0.0, 1000.0)


def tail_of(*times: float) -> RecentLatencies:
    tail = RecentLatencies()
    for time in times:
        tail.record_answer(time)
    return tail


class TestTail:
    """Times of late, in order."""

    @pytest.mark.parametrize(("known", "p95"), [(0, None), (ENOUGH - 1, None), (ENOUGH, 19.0)])
    def test_it_is_not_known_before_there_are_enough(self, known: int, p95: float | None) -> None:
        assert tail_of(*(float(one + 1) for one in range(known))).p95 == p95

    @given(st.lists(seconds, min_size=ENOUGH, max_size=3 * REMEMBERED))
    def test_of_what_is_remembered_nineteen_of_twenty_took_no_longer(self, times: list[float]) -> None:
        tail, late = tail_of(*times), times[-REMEMBERED:]

        begins = tail.p95
        assert begins is not None
        assert begins in late
        assert sum(one <= begins for one in late) >= 0.95 * len(late)
        assert sum(one < begins for one in late) < 0.95 * len(late)

    def test_what_was_long_ago_is_forgotten(self) -> None:
        tail = tail_of(*[30.0] * REMEMBERED, *[1.0] * REMEMBERED)

        assert (tail.p95, len(tail)) == (1.0, REMEMBERED)

    def test_who_waited_no_longer_counts_if_that_was_long(self) -> None:
        tail = tail_of(*[1.0] * REMEMBERED)
        for _ in range(10):
            tail.record_unfinished_request(4.0)

        assert tail.p95 == 4.0

    def test_a_call_that_was_cancelled_early_is_not_counted(self) -> None:
        tail = tail_of(*[1.0] * ENOUGH)
        for _ in range(REMEMBERED):
            tail.record_unfinished_request(0.01)

        assert (tail.p95, len(tail)) == (1.0, ENOUGH)

    def test_without_samples_there_is_no_tail_latency(self) -> None:
        tail = RecentLatencies()
        tail.record_unfinished_request(100.0)

        assert len(tail) == 0

    def test_cutting_the_tail_off_does_not_move_its_beginning(self) -> None:
        chance = Random(3)  # noqa: S311 - a simulation
        whole, cut = RecentLatencies(), RecentLatencies()
        for _ in range(2000):
            took, begins = chance.lognormvariate(0.0, 0.5), cut.p95
            whole.record_answer(took)
            if begins is not None and took > begins:
                cut.record_unfinished_request(begins)
            else:
                cut.record_answer(took)

        assert cut.p95 == pytest.approx(whole.p95, rel=0.3)


class TestTailLatency:
    """Each feature for itself."""

    def test_features_endpoints_and_kinds_of_time_are_kept_apart(self) -> None:
        tails = TailLatencyTracker()
        tails.recent_latencies("f", "red:m", "total").record_answer(1.0)

        assert len(tails.recent_latencies("f", "red:m", "total")) == 1
        assert len(tails.recent_latencies("f", "red:m", "first_token")) == 0
        assert len(tails.recent_latencies("f", "blue:m", "total")) == 0
        assert len(tails.recent_latencies("g", "red:m", "total")) == 0


class TestHedgeBudget:
    """What calls have earned."""

    def test_so_many_calls_earn_one_hedge(self) -> None:
        budget = HedgeBudget()
        for _ in range(CALLS_PER_HEDGE - 1):
            budget.record_call("f")
        assert not budget.can_hedge("f")

        budget.record_call("f")
        assert budget.can_hedge("f")
        assert not budget.can_hedge("g")

        budget.spend_hedge("f")
        assert not budget.can_hedge("f")

    def test_only_a_few_are_saved_up(self) -> None:
        budget, paid = HedgeBudget(), 0
        for _ in range(1000):
            budget.record_call("f")
        while budget.can_hedge("f"):
            budget.spend_hedge("f")
            paid += 1

        assert paid == MOST_SAVED

    @given(st.lists(st.booleans(), max_size=400))
    def test_never_more_than_one_call_in_twenty_is_hedged(self, wanted: list[bool]) -> None:
        budget, paid = HedgeBudget(), 0
        for calls, is_wanted in enumerate(wanted, 1):
            budget.record_call("f")
            if is_wanted and budget.can_hedge("f"):
                budget.spend_hedge("f")
                paid += 1
            assert paid <= calls / 20
