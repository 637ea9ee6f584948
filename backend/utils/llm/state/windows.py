"""How much of a rate is used up, as a frozen value. Times are seconds since the epoch, so that days and months fit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ..rate_limits import SECONDS

if TYPE_CHECKING:
    from ..rate_limits import Rate


_SLACK_SECONDS = 2e-6
"""What clocks and sums of floats may be off by: room that comes so soon is there."""


@dataclass(frozen=True, slots=True)
class Window:
    """What was used in the current period and in the one before.

    Per second, minute and hour it slides: of the period before, as much counts as lies less than one period back, as
    if it had been used evenly. What that lets out, a bucket lets out too that is as large as the rate and is filled
    evenly, as providers have it. Days and months begin at zero, in UTC, as a provider's quotas do.
    """

    begins: float = -math.inf
    current: float = 0.0
    previous: float = 0.0

    def at(self, rate: Rate, now: float) -> Window:
        """As it stands at ``now``."""
        begins = _beginning(rate, now)
        if begins <= self.begins:
            return self
        is_next = not rate.resets and begins - self.begins < 1.5 * SECONDS[rate.per]
        return Window(begins, 0.0, self.current if is_next else 0.0)

    def used(self, rate: Rate, now: float) -> float:
        """How much counts at ``now``."""
        window = self.at(rate, now)
        share = 1.0 - (now - window.begins) / SECONDS[rate.per] if window.previous else 0.0
        return window.current + window.previous * min(1.0, max(0.0, share))

    def plus(self, amount: float, rate: Rate, now: float) -> Window:
        """After ``amount`` more."""
        window = self.at(rate, now)
        return replace(window, current=window.current + amount)

    def minus(self, amount: float, rate: Rate, taken: float, now: float) -> Window:
        """After ``amount`` that was added at ``taken`` turned out not to be used: it is given back where it counts."""
        window = self.at(rate, now)
        if taken >= window.begins:
            return replace(window, current=max(0.0, window.current - amount))
        if taken >= window.begins - SECONDS[rate.per]:
            return replace(window, previous=max(0.0, window.previous - amount))
        return window

    def seconds_until_room(self, amount: float, rate: Rate, now: float) -> float:
        """Seconds until ``amount`` more fits; 0 if it does now, infinite if it never will."""
        if amount > rate.amount:
            return math.inf
        window, room = self.at(rate, now), rate.amount - amount
        if window.used(rate, now) <= room + rate.amount * _SLACK_SECONDS / SECONDS[rate.per]:
            return 0.0
        ends = _end(rate, window.begins)
        if rate.resets:
            return ends - now
        length = SECONDS[rate.per]
        if window.current <= room:
            return window.begins + length * (1.0 - (room - window.current) / window.previous) - now
        return ends + length * (1.0 - room / window.current) - now


def resets_at(rate: Rate, now: float) -> float:
    """When a day's or a month's quota begins anew."""
    return _end(rate, _beginning(rate, now))


def _beginning(rate: Rate, now: float) -> float:
    if rate.per != "month":
        return now - now % SECONDS[rate.per]
    day = datetime.fromtimestamp(now, UTC)
    return datetime(day.year, day.month, 1, tzinfo=UTC).timestamp()


def _end(rate: Rate, begins: float) -> float:
    if rate.per != "month":
        return begins + SECONDS[rate.per]
    first = datetime.fromtimestamp(begins, UTC)
    year, month = (first.year + 1, 1) if first.month == 12 else (first.year, first.month + 1)  # noqa: PLR2004
    return datetime(year, month, 1, tzinfo=UTC).timestamp()
