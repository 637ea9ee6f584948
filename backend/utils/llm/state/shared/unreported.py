"""The amounts that a process has sent without the store's answer, until it can report them."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from .claims import find_window_bucket
from .store import CounterChange

if TYPE_CHECKING:
    from collections.abc import Callable

    from .store import SharedLimit

MOST_UNREPORTED = 20_000
"""Sums kept; beyond that the oldest are dropped."""


class _Sum(NamedTuple):
    """The amount sent in one part of a window; ``at`` is its last time, by the monotonic clock."""

    limit: SharedLimit
    at: float
    amount: int


class UnreportedAmounts:
    """The amounts that a process has used without the store's answer, summed by limit and part of its window.

    Expired sums are dropped a few at a time, so that no call waits long.
    """

    def __init__(self) -> None:
        self._sums: OrderedDict[tuple[str, int], _Sum] = OrderedDict()

    def add_amount(self, limit: SharedLimit, at: float, amount: int) -> None:
        """Add ``amount`` that was sent at the time ``at``, in seconds of the monotonic clock."""
        place = limit.key, math.floor(at / limit.bucket_seconds) if limit.kind == "window" else -1
        before = self._sums.get(place, _Sum(limit, at, 0))
        self._sums[place] = _Sum(limit, max(at, before.at), before.amount + amount)

    def drop_expired(self, max_checked: int, now: float) -> None:
        """Check the oldest ``max_checked`` sums, and drop those that have expired at ``now``.

        Beyond `MOST_UNREPORTED` sums, the oldest are dropped as well.
        """
        for _ in range(min(len(self._sums), max_checked)):
            place, one = self._sums.popitem(last=False)
            if one.at + one.limit.grant_seconds > now:
                self._sums[place] = one
        while len(self._sums) > MOST_UNREPORTED:
            self._sums.popitem(last=False)

    def pop_all_as_changes(
        self, now: float, bucket_at_age: Callable[[SharedLimit, float], int]
    ) -> list[CounterChange]:
        """Remove all sums, and return them as changes of the store's counters at ``now``.

        ``bucket_at_age`` returns the part of a limit's window for an amount used that many seconds ago.
        """
        found = [
            CounterChange(
                item.limit, find_window_bucket(item.limit, now - item.at, bucket_at_age), item.amount
            )
            for item in self._sums.values()
        ]
        self._sums.clear()
        return found

    def clear(self) -> None:
        """Drop all sums."""
        self._sums.clear()
