"""How much of a rate is used: by a sliding window, or by the calendar day or month."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING

from ..rate_limits import SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..rate_limits import Period

EXACT_GRANTS = 100
"""Grants kept one by one; beyond that, grants close together are joined."""
GRAIN = 1 / 600
"""Grants within this share of the window, and within a second, are joined. A log holds at most 700 grants, per hour 3,700, and
under pressure grants less than the rate by under 0.2 %."""
_LEAST_WAIT = 1e-6
"""Seconds: a call that waits for room is not woken too early by the rounding of floats."""


class WindowGrant:
    """An amount that a window counts from the time ``at`` on.

    Attributes:
        at: When the last part of the amount was added.
        since: When the first part was added.
        amount: The amount, less the part that was given back.
    """

    __slots__ = ("amount", "at", "since")

    def __init__(self, at: float, amount: int) -> None:
        self.since = self.at = at
        self.amount = amount


class SlidingWindow:
    """The amounts counted in the last second, minute or hour.

    Each amount counts for a whole period from the time it is added, so that no period ever holds more than
    the limit, wherever it begins.

    Args:
        per: The window's length.
        clock: The monotonic clock, in seconds.
    """

    __slots__ = ("_clock", "_grain", "_length", "_log", "_used")

    def __init__(self, per: Period, clock: Callable[[], float]) -> None:
        self._length = SECONDS[per]
        self._grain = min(1.0, self._length * GRAIN)
        self._clock = clock
        self._log: list[WindowGrant] = []
        self._used = 0

    def _expire(self) -> float:
        """Drop the grants that no longer count, and return the time."""
        now, log, over = self._clock(), self._log, 0
        while over < len(log) and log[over].at + self._length <= now:
            self._used -= log[over].amount
            over += 1
        if over:
            del log[:over]
        return now

    def used_amount(self) -> int:
        """The sum of the amounts that count now."""
        self._expire()
        return self._used

    def add_amount(self, amount: int) -> WindowGrant:
        """Count ``amount`` from now on. A part of the returned grant can be given back."""
        now = self._expire()
        self._used += amount
        if len(self._log) >= EXACT_GRANTS and now - (last := self._log[-1]).since <= self._grain:
            last.at, last.amount = now, last.amount + amount
            return last
        grant = WindowGrant(now, amount)
        self._log.append(grant)
        return grant

    def is_counted(self, grant: WindowGrant) -> bool:
        """Whether the window still counts ``grant``."""
        return grant.at + self._length > self._clock()

    def release_amount(self, grant: WindowGrant, amount: int) -> None:
        """Subtract ``amount`` from ``grant``, because the request did not use it."""
        self._expire()
        if self.is_counted(grant):
            grant.amount -= amount
            self._used -= amount

    def list_counted_grants(self) -> list[tuple[float, int]]:
        """The grants that count now, each with its age in seconds and its amount."""
        now = self._expire()
        return [(now - grant.at, grant.amount) for grant in self._log]

    def seconds_until_free(self, amounts: Iterable[int], limit: int) -> float:
        """Seconds until requests that need ``amounts``, sent one after the other, fit under ``limit``.

        0 if they fit now. An amount above ``limit`` counts as ``limit``.
        """
        now = at = self._expire()
        used, made = self._used, list[tuple[float, int]]()
        counted = chain(((grant.at, grant.amount) for grant in self._log), made)
        for ask in amounts:
            amount = min(ask, limit)
            while used + amount > limit:
                since, expired = next(counted)
                at, used = since + self._length, used - expired
            made.append((at, amount))
            used += amount
        return max(at - now, _LEAST_WAIT) if at > now else 0.0


class CalendarWindow:
    """The amounts counted in the current day or month, in UTC.

    Args:
        per: The window's length.
        clock: The wall clock, in seconds since the epoch.
    """

    __slots__ = ("_begins", "_clock", "_ends", "_per", "_used")

    def __init__(self, per: Period, clock: Callable[[], float]) -> None:
        self._per: Period = per
        self._clock = clock
        self._begins = self._ends = -math.inf
        self._used = 0

    def _renew(self) -> float:
        """Start at 0 in a new period, and return the time."""
        now = self._clock()
        if now >= self._ends:
            self._begins, self._ends, self._used = _beginning(self._per, now), period_end(self._per, now), 0
        return now

    def used_amount(self) -> int:
        """The sum of the amounts that count now."""
        self._renew()
        return self._used

    def add_amount(self, amount: int) -> WindowGrant:
        """Count ``amount`` until the day or month ends. A part of the returned grant can be given back."""
        grant = WindowGrant(self._renew(), amount)
        self._used += amount
        return grant

    def is_counted(self, grant: WindowGrant) -> bool:
        """Whether ``grant`` was made in the current day or month, so that it still counts."""
        self._renew()
        return grant.at >= self._begins

    def release_amount(self, grant: WindowGrant, amount: int) -> None:
        """Subtract ``amount`` of ``grant``, which the request did not use. No effect once the period is over."""
        if self.is_counted(grant):
            self._used -= amount

    def list_counted_grants(self) -> list[tuple[float, int]]:
        """The sum that counts now, as a single grant of age 0."""
        return [(0.0, self.used_amount())]

    def seconds_until_free(self, amounts: Iterable[int], limit: int) -> float:
        """Seconds until requests that need ``amounts`` all fit. See `SlidingWindow.seconds_until_free`."""
        now = at = self._renew()
        used, ends = self._used, self._ends
        for ask in amounts:
            amount = min(ask, limit)
            if used + amount > limit:
                at, used, ends = ends, 0, period_end(self._per, ends)
            used += amount
        return at - now


Window = SlidingWindow | CalendarWindow


def period_end(per: Period, now: float) -> float:
    """The end of the UTC day or month (``per``) that contains ``now``; both are seconds since the epoch."""
    if per != "month":
        return _beginning(per, now) + SECONDS[per]
    first = datetime.fromtimestamp(_beginning(per, now), UTC)
    year, month = (first.year + 1, 1) if first.month == 12 else (first.year, first.month + 1)  # noqa: PLR2004
    return datetime(year, month, 1, tzinfo=UTC).timestamp()


def _beginning(per: Period, now: float) -> float:
    if per != "month":
        return now - now % SECONDS[per]
    day = datetime.fromtimestamp(now, UTC)
    return datetime(day.year, day.month, 1, tzinfo=UTC).timestamp()
