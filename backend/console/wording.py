"""Formats numbers and times as short texts for people; used by the templates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

UNKNOWN: Final = "\N{EN DASH}"
_THOUSAND: Final = 1_000
_SHORT: Final = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))
_SMALL: Final = Decimal("0.01")
_LEAST_SHARE: Final = 0.001
_WHOLE_PERCENT: Final = 0.1
_MINUTE: Final = 60
_SPANS: Final = ((86_400, "d"), (3_600, "h"), (_MINUTE, "min"), (1, "s"))


def count(number: int | None) -> str:
    """Format ``number`` with a thin space between thousands; a dash if it is None."""
    return UNKNOWN if number is None else f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def short(number: int | None) -> str:
    """Format ``number`` with three digits, and a letter from a thousand on: ``12.3k``; a dash if it is None."""
    if number is None:
        return UNKNOWN
    for unit, sign in _SHORT:
        if number >= unit:
            value = number / unit
            return f"{value:.0f}{sign}" if value >= 100 else f"{value:.3g}{sign}"  # noqa: PLR2004
    return str(number)


def usd(amount: str | None) -> str:
    """Format ``amount`` dollars, with as many decimals as are significant; a dash if it is None."""
    if amount is None:
        return UNKNOWN
    value = Decimal(amount)
    if not value:
        return "$0"
    if abs(value) < _SMALL:
        return f"${value:.2g}" if abs(value) >= Decimal("0.000001") else "<$0.000001"
    separated = f"${value:,.2f}" if abs(value) < 10_000 else f"${value:,.0f}"  # noqa: PLR2004
    return separated.replace(",", "\N{NARROW NO-BREAK SPACE}")


def seconds(duration: float | None) -> str:
    """Format a duration in seconds: ``840 ms``, ``1.2 s``, ``2 min 5 s``; a dash if it is None."""
    if duration is None:
        return UNKNOWN
    if duration < 1:
        return f"{duration * _THOUSAND:.0f} ms"
    if duration < _MINUTE:
        return f"{duration:.1f} s"
    minutes, rest = divmod(round(duration), _MINUTE)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def percent(share: float | None) -> str:
    """Format ``share``, from 0 to 1, as percent; a dash if it is None."""
    if share is None:
        return UNKNOWN
    if 0 < share < _LEAST_SHARE:
        return "<0.1 %"
    return f"{share * 100:.0f} %" if share >= _WHOLE_PERCENT or not share else f"{share * 100:.1f} %"


def span(time: timedelta) -> str:
    """Format a duration in its largest unit: ``3 min``, ``2 d``."""
    whole = max(0, round(time.total_seconds()))
    unit, sign = next(((unit, sign) for unit, sign in _SPANS if whole >= 2 * unit), (1, "s"))
    return f"{whole // unit} {sign}"


def ago(at: datetime | None, now: datetime) -> str:
    """Format the time from ``at`` to ``now``, such as ``3 min ago``; ``never`` if ``at`` is None."""
    return "never" if at is None else f"{span(now - at)} ago"


def until(at: datetime, now: datetime) -> str:
    """Format the time from ``now`` to ``at``, such as ``in 3 min``; ``now`` if it is over."""
    return f"in {span(at - now)}" if at > now else "now"


def moment(at: datetime) -> str:
    """Format a time in UTC, to the second."""
    return f"{at.astimezone(UTC):%d %b, %H:%M:%S}"


def minute(at: datetime) -> str:
    """Format a time in UTC, to the minute, with its year."""
    return f"{at.astimezone(UTC):%d %b %Y, %H:%M} UTC"


def number_of(amount: int, thing: str, things: str | None = None) -> str:
    """Format a number with its noun: ``1 call``, ``2 calls``. ``things`` is the plural, by default ``thing`` with an s."""
    return f"{count(amount)} {thing if amount == 1 else things or f'{thing}s'}"
