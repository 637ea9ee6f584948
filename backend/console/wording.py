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


def format_count(number: int | None) -> str:
    """Format ``number`` with a thin space between thousands: ``12 345``; a dash if it is None."""
    return UNKNOWN if number is None else f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def format_short_count(number: int | None) -> str:
    """Format ``number`` with at most three digits and a unit: ``12.3k``, ``4M``; a dash if it is None."""
    if number is None:
        return UNKNOWN
    for unit, sign in _SHORT:
        if number >= unit:
            value = number / unit
            return f"{value:.0f}{sign}" if value >= 100 else f"{value:.3g}{sign}"  # noqa: PLR2004
    return str(number)


def format_usd(amount: str | None) -> str:
    """Format an amount of dollars, with more decimals below a cent: ``$1.20``; a dash if it is None."""
    if amount is None:
        return UNKNOWN
    value = Decimal(amount)
    if not value:
        return "$0"
    if abs(value) < _SMALL:
        return f"${value:.2g}" if abs(value) >= Decimal("0.000001") else "<$0.000001"
    separated = f"${value:,.2f}" if abs(value) < 10_000 else f"${value:,.0f}"  # noqa: PLR2004
    return separated.replace(",", "\N{NARROW NO-BREAK SPACE}")


def format_seconds(duration: float | None) -> str:
    """Format a duration in seconds: ``840 ms``, ``1.2 s``, ``2 min 5 s``; a dash if it is None."""
    if duration is None:
        return UNKNOWN
    if duration < 1:
        return f"{duration * _THOUSAND:.0f} ms"
    if duration < _MINUTE:
        return f"{duration:.1f} s"
    minutes, rest = divmod(round(duration), _MINUTE)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def format_percent(share: float | None) -> str:
    """Format ``share``, from 0 to 1, as a percentage; a dash if it is None."""
    if share is None:
        return UNKNOWN
    if 0 < share < _LEAST_SHARE:
        return "<0.1 %"
    return f"{share * 100:.0f} %" if share >= _WHOLE_PERCENT or not share else f"{share * 100:.1f} %"


def format_timespan(time: timedelta) -> str:
    """Format a duration in its largest suitable unit: ``3 min``, ``2 d``."""
    whole = max(0, round(time.total_seconds()))
    unit, sign = next(((unit, sign) for unit, sign in _SPANS if whole >= 2 * unit), (1, "s"))
    return f"{whole // unit} {sign}"


def format_time_ago(at: datetime | None, now: datetime) -> str:
    """Format how long before ``now`` the time ``at`` was: ``3 min ago``; ``never`` if ``at`` is None."""
    return "never" if at is None else f"{format_timespan(now - at)} ago"


def format_time_until(at: datetime, now: datetime) -> str:
    """Format how long after ``now`` the time ``at`` will be: ``in 3 min``; ``now`` if it has passed."""
    return f"in {format_timespan(at - now)}" if at > now else "now"


def format_utc_second(at: datetime) -> str:
    """Format a time in UTC to the second, without its year: ``17 Nov, 08:30:00``."""
    return f"{at.astimezone(UTC):%d %b, %H:%M:%S}"


def format_utc_minute(at: datetime) -> str:
    """Format a time in UTC to the minute, with its year: ``17 Nov 2026, 08:30 UTC``."""
    return f"{at.astimezone(UTC):%d %b %Y, %H:%M} UTC"


def format_quantity(amount: int, singular: str, plural: str | None = None) -> str:
    """Format a number with its noun: ``1 call``, ``2 calls``.

    Args:
        amount: The number.
        singular: The noun in the singular.
        plural: The noun in the plural; by default ``singular`` with an s.
    """
    return f"{format_count(amount)} {singular if amount == 1 else plural or f'{singular}s'}"
