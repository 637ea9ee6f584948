"""The amounts that a process has sent without the store's answer, until it can report them."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from .claims import bucket_at_age
from .store import Change

if TYPE_CHECKING:
    from collections.abc import Callable

    from .store import Limit

MOST_UNREPORTED = 20_000
"""Sums kept; beyond that the oldest are dropped."""


class _Sum(NamedTuple):
    """The amount sent in one part of a window; ``at`` is its last time, by the monotonic clock."""

    limit: Limit
    at: float
    amount: int


class Unreported:
    """Sums of amounts, one for each limit and part of a window. Expired sums are dropped a few at a time, so that no call waits."""

    def __init__(self) -> None:
        self._sums: OrderedDict[tuple[str, int], _Sum] = OrderedDict()

    def add(self, limit: Limit, at: float, amount: int) -> None:
        """Add ``amount``, which was sent at the time ``at``, in seconds of the monotonic clock."""
        place = limit.key, math.floor(at / limit.grain) if limit.kind == "window" else -1
        before = self._sums.get(place, _Sum(limit, at, 0))
        self._sums[place] = _Sum(limit, max(at, before.at), before.amount + amount)

    def forget(self, most: int, now: float) -> None:
        """Drop those of the oldest ``most`` sums that no longer count at ``now``, and the oldest beyond `MOST_UNREPORTED`."""
        for _ in range(min(len(self._sums), most)):
            place, one = self._sums.popitem(last=False)
            if one.at + one.limit.length > now:
                self._sums[place] = one
        while len(self._sums) > MOST_UNREPORTED:
            self._sums.popitem(last=False)

    def take(self, now: float, bucket_of: Callable[[Limit, float], int]) -> list[Change]:
        """Remove all sums, and return them as changes of the store's counters at ``now``."""
        found = [
            Change(one.limit, bucket_at_age(one.limit, now - one.at, bucket_of), one.amount)
            for one in self._sums.values()
        ]
        self._sums.clear()
        return found

    def clear(self) -> None:
        """Drop all sums."""
        self._sums.clear()
