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


class Columns(NamedTuple):
    """The SVG paths of a chart of stacked columns.

    Attributes:
        width: The width of the chart in its own units.
        height: The height of the chart in its own units.
        paths: For each stacked value, its rectangles in all columns, as one SVG path.
        most: The sum of the highest column, in the unit of the values.
    """

    width: int
    height: int
    paths: tuple[str, ...]
    most: float


class Span(NamedTuple):
    """A bar in a row of a timeline; both numbers are percent of the row's length.

    Attributes:
        x: Where the bar begins.
        width: How long the bar is.
    """

    x: float
    width: float


def columns(stacks: Sequence[Sequence[float]], height: int = 24) -> Columns:
    """Compute a chart with one column for each of ``stacks``, whose values are drawn on top of one another."""
    most = max(map(sum, stacks), default=0)
    paths = [""] * max(map(len, stacks), default=0)
    for place, stack in enumerate(stacks):
        for series, outline in _stacked(place, stack, height, most):
            paths[series] += outline
    return Columns(max(1, len(stacks)) * STEP, height, tuple(paths), most)


def _stacked(place: int, stack: Sequence[float], height: int, most: float) -> Iterator[tuple[int, str]]:
    top, width = float(height), STEP - _GAP
    for series, figure in enumerate(stack):
        if figure <= 0:
            continue
        tall = max(_LEAST, figure / most * height)
        top = max(0.0, top - tall)
        yield series, f"M{place * STEP + _GAP // 2} {top:.3g}h{width}v{tall:.3g}h-{width}z"


def spans(parts: Sequence[tuple[datetime, float]]) -> tuple[Span, ...]:
    """Compute a timeline bar for each of ``parts``, a start and a duration in seconds.

    The whole time of all parts is 100 percent.
    """
    if not parts:
        return ()
    first = min(begun for begun, _ in parts)
    offsets = [((begun - first).total_seconds(), seconds) for begun, seconds in parts]
    whole = max(offset + seconds for offset, seconds in offsets) or 1.0
    return tuple(_span(offset / whole, seconds / whole) for offset, seconds in offsets)


def _span(offset: float, share: float) -> Span:
    width = max(_NARROWEST, share * 100)
    return Span(
        round(min(offset * 100, 100 - _NARROWEST), 2), round(min(width, 100 - offset * 100 + _NARROWEST), 2)
    )
