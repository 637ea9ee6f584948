from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backend.console import charts, wording

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("amount", "says"),
    [
        (None, wording.UNKNOWN),
        ("0", "$0"),
        ("0.000", "$0"),
        ("0.0000004", "<$0.000001"),
        ("0.00045", "$0.00045"),
        ("0.5", "$0.50"),
        ("1234.5", "$1\u202f234.50"),
        ("98765.4", "$98\u202f765"),
        ("-3", "$-3.00"),
    ],
)
def test_dollars_have_as_many_digits_as_say_something(amount: str | None, says: str) -> None:
    assert wording.format_usd(amount) == says


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (None, wording.UNKNOWN),
        (0, "0"),
        (999, "999"),
        (1_000, "1k"),
        (12_345, "12.3k"),
        (999_900, "1000k"),
        (1_000_000, "1M"),
    ],
)
def test_great_numbers_are_short(number: int | None, says: str) -> None:
    assert wording.format_short_count(number) == says


@pytest.mark.parametrize(
    ("duration", "says"),
    [
        (None, wording.UNKNOWN),
        (0.0, "0 ms"),
        (0.84, "840 ms"),
        (1.25, "1.2 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
    ],
)
def test_durations_are_in_the_unit_that_people_use(duration: float | None, says: str) -> None:
    assert wording.format_seconds(duration) == says


@pytest.mark.parametrize(
    ("share", "says"),
    [
        (None, wording.UNKNOWN),
        (0.0, "0 %"),
        (0.0001, "<0.1 %"),
        (0.023, "2.3 %"),
        (0.5, "50 %"),
        (1.0, "100 %"),
    ],
)
def test_shares_are_percentages(share: float | None, says: str) -> None:
    assert wording.format_percent(share) == says


def test_moments_are_told_by_how_far_off_they_are() -> None:
    assert wording.format_time_ago(None, NOON) == "never"
    assert wording.format_time_ago(NOON - timedelta(minutes=3), NOON) == "3 min ago"
    assert wording.format_time_ago(NOON + timedelta(seconds=1), NOON) == "0 s ago"
    assert wording.format_time_until(NOON + timedelta(days=2), NOON) == "in 2 d"
    assert wording.format_time_until(NOON - timedelta(days=2), NOON) == "now"


def test_one_is_one() -> None:
    assert [wording.format_quantity(number, "call") for number in (0, 1, 2)] == [
        "0 calls",
        "1 call",
        "2 calls",
    ]


def test_a_column_stands_on_the_floor_and_the_highest_fills_the_chart() -> None:
    drawn = charts.make_column_chart([(3, 1), (2, 0), (0, 0)], height=20)

    assert (drawn.width, drawn.height, drawn.most) == (30, 20, 4)
    assert drawn.paths == ("M1 5h8v15h-8zM11 10h8v10h-8z", "M1 0h8v5h-8z")


def test_however_little_something_is_it_is_seen() -> None:
    assert charts.make_column_chart([(1_000_000, 1)], height=20).paths[1] == "M1 0h8v1h-8z"


def test_a_chart_of_nothing_is_empty() -> None:
    assert charts.make_column_chart([], 20) == charts.ColumnChart(10, 20, (), 0)
    assert charts.make_timeline_bars([]) == ()


def test_parts_lie_in_the_time_of_all() -> None:
    found = charts.make_timeline_bars(
        [(NOON, 2), (NOON + timedelta(seconds=3), 1), (NOON + timedelta(seconds=4), 0)]
    )

    assert [(span.x, span.width) for span in found] == [(0, 50), (75, 25), (99.5, 0.5)]
