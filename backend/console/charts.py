"""Computes the coordinates of the SVG charts. The origin of each view box is its upper left corner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

STEP: Final = 10
"""The distance from one column to the next."""
_GAP: Final = 2
_LEAST: Final = 1.0
"""Of something, however little, so much is seen."""
_NARROWEST: Final = 0.5
"""Percent of a row that a moment fills."""


class ColumnChart(NamedTuple):
    """A chart of stacked columns, as SVG paths.

    Attributes:
        width: The width of the chart in SVG units.
        height: The height of the chart in SVG units.
        paths: One path for each series of values, which draws the rectangles of that series in all columns.
        most: The sum of the values of the highest column.
    """

    width: int
    height: int
    paths: tuple[str, ...]
    most: float


class TimelineBar(NamedTuple):
    """A bar of a timeline. Both numbers are percentages of the timeline's length.

    Attributes:
        x: The start of the bar.
        width: The length of the bar.
    """

    x: float
    width: float


def make_column_chart(stacks: Sequence[Sequence[float]], height: int = 24) -> ColumnChart:
    """Make a chart with one column for each item of ``stacks``. The values of an item are stacked on each other."""
    most = max(map(sum, stacks), default=0)
    paths = [""] * max(map(len, stacks), default=0)
    for place, stack in enumerate(stacks):
        for series, outline in _stacked(place, stack, height, most):
            paths[series] += outline
    return ColumnChart(max(1, len(stacks)) * STEP, height, tuple(paths), most)


def _stacked(place: int, stack: Sequence[float], height: int, most: float) -> Iterator[tuple[int, str]]:
    top, width = float(height), STEP - _GAP
    for series, figure in enumerate(stack):
        if figure <= 0:
            continue
        tall = max(_LEAST, figure / most * height)
        top = max(0.0, top - tall)
        yield series, f"M{place * STEP + _GAP // 2} {top:.3g}h{width}v{tall:.3g}h-{width}z"


def make_timeline_bars(intervals: Sequence[tuple[datetime, float]]) -> tuple[TimelineBar, ...]:
    """Make a timeline bar for each of ``intervals``, which are pairs of a start time and a duration in seconds.

    The timeline reaches from the first start to the last end.
    """
    if not intervals:
        return ()
    first = min(begun for begun, _ in intervals)
    offsets = [((begun - first).total_seconds(), seconds) for begun, seconds in intervals]
    whole = max(offset + seconds for offset, seconds in offsets) or 1.0
    return tuple(_span(offset / whole, seconds / whole) for offset, seconds in offsets)


def _span(offset: float, share: float) -> TimelineBar:
    width = max(_NARROWEST, share * 100)
    return TimelineBar(
        round(min(offset * 100, 100 - _NARROWEST), 2), round(min(width, 100 - offset * 100 + _NARROWEST), 2)
    )
