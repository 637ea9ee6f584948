"""Counter changes that wait until the server is reachable."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .store import Change

MOST_UNSENT = 20_000
AT_ONCE = 1_000
"""Changes sent in one script, which blocks the server for a few milliseconds."""


class Unsent:
    """One summed change for each limit and part of a window, in the order in which they were added."""

    def __init__(self) -> None:
        self._sums: OrderedDict[tuple[str, int], Change] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sums)

    def add(self, changes: Iterable[Change]) -> None:
        """Add all of ``changes``."""
        for one in changes:
            place = one.limit.key, one.bucket
            before = self._sums.get(place)
            self._sums[place] = one if before is None else one._replace(amount=before.amount + one.amount)

    def add_some(self, changes: Iterable[Change]) -> None:
        """Add ``changes``, and drop the oldest beyond `MOST_UNSENT` sums."""
        for one in changes:
            self.add([one])
            if len(self._sums) > MOST_UNSENT:
                self._sums.popitem(last=False)

    def take(self) -> list[Change]:
        """Remove and return the oldest changes, at most `AT_ONCE`."""
        return [self._sums.popitem(last=False)[1] for _ in range(min(AT_ONCE, len(self._sums)))]
