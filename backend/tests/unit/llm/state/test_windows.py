"""How much of a rate is used up: against a list of all that went out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.tests.fakes.clock import Clock
from backend.utils.llm.rate_limits import SECONDS, Period, RateLimit
from backend.utils.llm.state.windows import EXACT_GRANTS, CalendarWindow, SlidingWindow, period_end

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backend.utils.llm.state.windows import Window

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
ROUNDED = 1e-5
"""Seconds that sums of floats may be off by."""

periods: st.SearchStrategy[Period] = st.sampled_from(["second", "minute", "hour"])
amounts = st.lists(st.integers(1, 40), min_size=1, max_size=60)
wishes = st.lists(st.tuples(st.floats(0, 1.5), st.integers(1, 30)), min_size=1, max_size=60)
"""How long after the one before, in periods, and how much."""


def sliding(per: Period) -> tuple[SlidingWindow, Clock]:
    clock = Clock()
    return SlidingWindow(per, clock), clock


def calendar(per: Period, start: float = NOON) -> tuple[CalendarWindow, Clock]:
    clock = Clock()
    clock.now = start
    return CalendarWindow(per, clock), clock


def fullest(went: list[tuple[float, int]], length: float) -> int:
    """The most that any stretch of that length has, wherever it begins."""
    most = held = oldest = 0
    for at, amount in went:
        held += amount
        while went[oldest][0] + length <= at:
            held -= went[oldest][1]
            oldest += 1
        most = max(most, held)
    return most


def let_out_on_arrival(window: Window, clock: Clock, most: int, arrivals: Iterable[float]) -> list[float]:
    """When each of one goes out, first come first served."""
    went = []
    for at in arrivals:
        clock.now = max(clock.now, at)
        clock.now += window.seconds_until_free([1], most)
        window.add_amount(1)
        went.append(clock.now)
    return went


def as_soon_as_possible(
    window: Window, clock: Clock, most: int, asked: Iterable[tuple[float, int]]
) -> list[tuple[float, int]]:
    """When each goes out that comes a pause after the one before, and waits for room."""
    went: list[tuple[float, int]] = []
    for pause, amount in asked:
        clock.now += pause
        while seconds := window.seconds_until_free([amount], most):
            clock.now += seconds
        window.add_amount(amount)
        went.append((clock.now, amount))
    return went


class TestSliding:
    @given(per=periods, most=st.integers(30, 100), wished=wishes)
    def test_no_period_has_more_than_the_rate_wherever_it_begins(
        self, per: Period, most: int, wished: list[tuple[float, int]]
    ) -> None:
        window, clock = sliding(per)
        went: list[tuple[float, int]] = []
        for pause, amount in wished:
            clock.now += pause * SECONDS[per]
            if not window.seconds_until_free([amount], most):
                window.add_amount(amount)
                went.append((clock.now, amount))

        assert fullest(went, SECONDS[per]) <= most

    @given(per=periods, most=st.integers(40, 100), asked=amounts)
    def test_under_pressure_each_goes_out_at_the_first_moment_at_which_it_fits(
        self, per: Period, most: int, asked: list[int]
    ) -> None:
        window, clock = sliding(per)

        went = as_soon_as_possible(window, clock, most, [(0.0, amount) for amount in asked])

        assert fullest(went, SECONDS[per]) <= most
        for place, (at, amount) in enumerate(went):
            if place and at > went[place - 1][0]:  # it had to wait: a moment before there was no room
                counted = sum(one for then, one in went[:place] if then + SECONDS[per] > at - ROUNDED)
                assert counted + amount > most

    @pytest.mark.parametrize("most", [1, 7, 60, 1_000, 20_000])
    @pytest.mark.parametrize("per", ["second", "minute", "hour"])
    @pytest.mark.parametrize("pace", [0.0, 0.5, 0.9, 1.0], ids=["at once", "twice", "a bit more", "just so"])
    def test_ninety_nine_percent_of_the_rate_are_used_under_pressure(
        self, per: Period, most: int, pace: float
    ) -> None:
        window, clock = sliding(per)
        rounds, length = 4, SECONDS[per]
        arrivals = [number * pace * length / most for number in range(rounds * most + 1)]

        went = let_out_on_arrival(window, clock, most, arrivals)

        assert fullest([(at, 1) for at in went], length) <= most
        assert went[-1] <= rounds * length / 0.99

    @pytest.mark.parametrize(("tokens", "fit"), [(30_000, 3), (45_000, 2), (50_000, 1), (80_000, 1)])
    def test_as_many_large_requests_go_out_in_each_period_as_fit(self, tokens: int, fit: int) -> None:
        window, clock = sliding("minute")

        went = as_soon_as_possible(window, clock, 90_000, [(0.0, tokens)] * (9 * fit + 1))

        assert went[-1][0] == pytest.approx(9 * 60)

    @pytest.mark.parametrize("per", ["second", "minute", "hour"])
    def test_what_is_kept_does_not_grow_with_the_rate(self, per: Period) -> None:
        window, clock = sliding(per)
        for _ in range(20_000):
            clock.now += SECONDS[per] / 18_000
            window.add_amount(1)

        assert len(window._log) <= EXACT_GRANTS + 3_600

    @given(per=periods, wished=wishes, most=st.integers(30, 100), asks=amounts)
    def test_who_waits_behind_others_is_told_when_their_turn_will_come(
        self, per: Period, wished: list[tuple[float, int]], most: int, asks: list[int]
    ) -> None:
        window, clock = sliding(per)
        as_soon_as_possible(window, clock, most, [(pause * SECONDS[per], amount) for pause, amount in wished])
        asked_at, asks = clock.now, [min(ask, most) for ask in asks]

        told = window.seconds_until_free(asks, most)
        went = as_soon_as_possible(window, clock, most, [(0.0, amount) for amount in asks])

        assert went[-1][0] - asked_at == pytest.approx(told, abs=ROUNDED * len(asks))

    @pytest.mark.parametrize(("later", "used"), [(20, 40), (59.9, 40), (60, 0)])
    def test_what_is_given_back_is_given_back_where_it_was_taken(self, later: float, used: int) -> None:
        window, clock = sliding("minute")
        grant = window.add_amount(70)
        clock.now = later

        window.release_amount(grant, 30)

        assert window.used_amount() == used

    def test_what_is_given_back_too_late_makes_no_room(self) -> None:
        window, clock = sliding("minute")
        grant = window.add_amount(70)
        clock.now = 60
        window.add_amount(10)

        window.release_amount(grant, 30)

        assert window.used_amount() == 10

    @given(events=st.lists(st.tuples(st.floats(0, 0.02), st.integers(1, 9), st.booleans()), max_size=400))
    def test_however_grants_are_joined_none_counts_too_short_nor_a_hundredth_too_long(
        self, events: list[tuple[float, int, bool]]
    ) -> None:
        window, clock = sliding("second")
        kept: list[tuple[float, int]] = []
        for pause, amount, comes_back in events:
            clock.now += pause
            grant = window.add_amount(amount)
            if comes_back:
                window.release_amount(grant, amount)
            else:
                kept.append((clock.now, amount))

        least = sum(amount for at, amount in kept if at + 1.0 > clock.now)
        most = sum(amount for at, amount in kept if at + 1.01 > clock.now)
        assert least <= window.used_amount() <= most


class TestCalendar:
    @pytest.mark.parametrize(
        ("per", "now", "ends"),
        [
            ("day", datetime(2026, 11, 21, 23, 59, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC)),
            ("month", datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
            ("month", datetime(2026, 12, 31, 23, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
            ("month", datetime(2028, 2, 29, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
        ],
    )
    def test_quotas_begin_anew_at_zero_in_utc(self, per: Period, now: datetime, ends: datetime) -> None:
        window, clock = calendar(per, now.timestamp())
        window.add_amount(5)

        assert window.seconds_until_free([1], 5) == (ends - now).total_seconds()
        assert period_end(per, now.timestamp()) == ends.timestamp()
        clock.now = ends.timestamp()
        assert window.used_amount() == 0

    def test_who_waits_behind_others_is_told_on_which_day_their_turn_will_come(self) -> None:
        window, _ = calendar("day")

        assert window.seconds_until_free([60, 40, 50, 50, 10], 100) == (12 + 24) * 3600

    def test_nothing_is_given_back_to_today_of_what_was_taken_yesterday(self) -> None:
        window, clock = calendar("day")
        grant = window.add_amount(90)
        clock.now += 12 * 3600
        window.add_amount(90)

        window.release_amount(grant, 60)

        assert window.used_amount() == 90

    def test_what_was_taken_today_is_given_back_today(self) -> None:
        window, clock = calendar("day")
        grant = window.add_amount(90)
        clock.now += 3600

        window.release_amount(grant, 60)

        assert window.used_amount() == 30

    def test_a_clock_that_is_put_back_begins_nothing_anew(self) -> None:
        window, clock = calendar("day")
        window.add_amount(80)
        clock.now -= 86_400

        assert window.used_amount() == 80


@pytest.mark.parametrize("per", ["minute", "day"])
def test_nobody_waits_for_room_that_is_there(per: Period) -> None:
    rate = RateLimit(10, per)
    window: Window = sliding(per)[0] if per == "minute" else calendar(per)[0]
    window.add_amount(4)

    assert window.seconds_until_free([3, 3], rate.amount) == 0
    assert window.seconds_until_free([3, 4], rate.amount) > 0
