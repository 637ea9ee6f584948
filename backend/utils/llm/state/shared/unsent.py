"""Counter changes that wait until the server is reachable."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .store import CounterChange

MOST_UNSENT = 20_000
AT_ONCE = 1_000
"""Changes sent in one script, which blocks the server for a few milliseconds."""


class UnsentChanges:
    """Counter changes that wait until the server is reachable, summed by limit and part of its window."""

    def __init__(self) -> None:
        self._sums: OrderedDict[tuple[str, int], CounterChange] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sums)

    def add_changes(self, changes: Iterable[CounterChange]) -> None:
        """Add all of ``changes``, however many there are."""
        for change in changes:
            place = change.limit.key, change.bucket
            before = self._sums.get(place)
            self._sums[place] = (
                change if before is None else change._replace(amount=before.amount + change.amount)
            )

    def add_changes_bounded(self, changes: Iterable[CounterChange]) -> None:
        """Add ``changes``. Beyond `MOST_UNSENT` sums, the oldest are dropped."""
        for change in changes:
            self.add_changes([change])
            if len(self._sums) > MOST_UNSENT:
                self._sums.popitem(last=False)

    def pop_batch(self) -> list[CounterChange]:
        """Remove and return the oldest changes, at most `AT_ONCE` of them."""
        return [self._sums.popitem(last=False)[1] for _ in range(min(AT_ONCE, len(self._sums)))]
