"""How much of a rate is used up."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.utils.llm.rate_limits import SECONDS, Rate
from backend.utils.llm.state.windows import Window, resets_at

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
TIGHT = 1e-3
"""Of a token: what clocks that count microseconds may be off by, at the rates below."""

sliding = st.builds(Rate, st.integers(1, 100), st.sampled_from(["second", "minute", "hour"]))
quotas = st.builds(Rate, st.integers(1, 100), st.sampled_from(["day", "month"]))
wishes = st.lists(
    st.tuples(st.floats(0, 1.5), st.integers(1, 30)),
    min_size=1,
    max_size=60,
)
"""How long after the one before, in periods, and how much."""


def let_out(rate: Rate, wished: list[tuple[float, int]]) -> tuple[Window, list[tuple[float, int]], float]:
    """What goes out if everything does for which there is room; the window then, and the time."""
    window, now = Window(), NOON
    went: list[tuple[float, int]] = []
    for pause, amount in wished:
        now += pause * SECONDS[rate.per]
        if window.seconds_until_room(amount, rate, now) == 0:
            window = window.plus(amount, rate, now)
            went.append((now, amount))
    return window, went, now


@given(rate=sliding | quotas, wished=wishes)
def test_no_period_by_the_clock_has_more_than_the_rate(rate: Rate, wished: list[tuple[float, int]]) -> None:
    _, went, _ = let_out(rate, wished)

    periods: Counter[float] = Counter()
    for at, amount in went:
        day = datetime.fromtimestamp(at, UTC)
        periods[12 * day.year + day.month if rate.per == "month" else at // SECONDS[rate.per]] += amount
    assert all(used <= rate.amount for used in periods.values())


@given(rate=sliding, wished=wishes)
def test_what_is_let_out_a_bucket_that_fills_evenly_lets_out_too(
    rate: Rate, wished: list[tuple[float, int]]
) -> None:
    _, went, _ = let_out(rate, wished)

    left, before = float(rate.amount), NOON
    for at, amount in went:
        left = min(rate.amount, left + (at - before) * rate.amount / SECONDS[rate.per]) - amount
        before = at
        assert left >= -TIGHT


@given(rate=sliding, wished=wishes, start=st.floats(0, 20))
def test_no_period_that_slides_has_twice_the_rate(
    rate: Rate, wished: list[tuple[float, int]], start: float
) -> None:
    _, went, _ = let_out(rate, wished)

    begins, length = NOON + start * SECONDS[rate.per], SECONDS[rate.per]
    assert sum(amount for at, amount in went if begins <= at < begins + length) < 2 * rate.amount + TIGHT


@pytest.mark.parametrize("per", ["second", "minute", "hour"])
def test_nine_tenths_of_the_rate_used_evenly_never_wait(per: str) -> None:
    rate, window = Rate.read(f"10/{per}"), Window()

    for ninth in range(90):
        now = NOON + (ninth + 0.01) * SECONDS[rate.per] / 9
        assert window.seconds_until_room(1, rate, now) == 0
        window = window.plus(1, rate, now)


@given(rate=sliding | quotas, wished=wishes, amount=st.integers(1, 100))
def test_room_comes_when_predicted_and_not_before(
    rate: Rate, wished: list[tuple[float, int]], amount: int
) -> None:
    window, _, now = let_out(rate, wished)
    wanted, early = min(amount, rate.amount), 1e-5 * (1 + rate.amount)
    seconds = window.seconds_until_room(wanted, rate, now)

    assert window.seconds_until_room(wanted, rate, now + seconds) == 0
    assert window.used(rate, now + seconds) + wanted <= rate.amount + TIGHT
    if seconds > early:
        assert window.seconds_until_room(wanted, rate, now + seconds - early) > 0


def test_what_is_more_than_the_rate_never_has_room() -> None:
    assert Window().seconds_until_room(11, Rate(10, "minute"), NOON) == math.inf


def test_of_the_period_before_as_much_counts_as_lies_less_than_one_period_back() -> None:
    rate = Rate(100, "minute")
    window = Window().plus(80, rate, NOON + 59)

    assert window.used(rate, NOON + 60 + 15) == pytest.approx(60)
    assert window.used(rate, NOON + 120) == 0


def test_two_periods_later_nothing_counts() -> None:
    rate = Rate(100, "minute")

    assert Window().plus(80, rate, NOON).used(rate, NOON + 125) == 0


@pytest.mark.parametrize(
    ("per", "now", "ends"),
    [
        ("day", datetime(2026, 11, 21, 23, 59, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC)),
        ("month", datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
        ("month", datetime(2026, 12, 31, 23, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        ("month", datetime(2028, 2, 29, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
    ],
)
def test_quotas_begin_anew_at_zero_in_utc(per: str, now: datetime, ends: datetime) -> None:
    rate = Rate.read(f"5/{per}")
    window = Window().plus(5, rate, now.timestamp())
    seconds = (ends - now).total_seconds()

    assert window.seconds_until_room(1, rate, now.timestamp()) == seconds
    assert window.used(rate, ends.timestamp()) == 0
    assert resets_at(rate, now.timestamp()) == ends.timestamp()


@pytest.mark.parametrize(
    ("per", "later", "used"),
    [("minute", 20, 40), ("minute", 60, 40), ("minute", 120, 0), ("day", 20, 40), ("day", 86_400, 0)],
)
def test_what_is_given_back_is_given_back_where_it_was_taken(per: str, later: float, used: float) -> None:
    rate = Rate.read(f"100/{per}")

    window = Window().plus(70, rate, NOON).minus(30, rate, taken=NOON, now=NOON + later)

    assert window.used(rate, NOON + later) == used


def test_nothing_is_given_back_to_today_of_what_was_taken_yesterday() -> None:
    rate, night = Rate(100, "day"), datetime(2026, 11, 22, tzinfo=UTC).timestamp()
    window = Window().plus(90, rate, night - 1).plus(90, rate, night + 1)

    assert window.minus(60, rate, taken=night - 1, now=night + 2).used(rate, night + 2) == 90


def test_a_clock_that_is_put_back_makes_nothing_count_more() -> None:
    rate = Rate(100, "minute")
    window = Window().plus(80, rate, NOON).plus(10, rate, NOON + 60)

    assert window.used(rate, NOON - 600) == 90
