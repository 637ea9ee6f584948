"""Changes that wait until the server can be told of them."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .store import Change

MOST_UNSENT = 20_000
AT_ONCE = 1_000
"""Changes in one script, which holds up the server for a few milliseconds."""


class Unsent:
    """One sum for each limit and part of a window, in the order in which they were added."""

    def __init__(self) -> None:
        self._sums: OrderedDict[tuple[str, int], Change] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sums)

    def add(self, changes: Iterable[Change]) -> None:
        """Keep all of these."""
        for one in changes:
            place = one.limit.key, one.bucket
            before = self._sums.get(place)
            self._sums[place] = one if before is None else one._replace(amount=before.amount + one.amount)

    def add_some(self, changes: Iterable[Change]) -> None:
        """Keep these; of more than `MOST_UNSENT` sums, the latest."""
        for one in changes:
            self.add([one])
            if len(self._sums) > MOST_UNSENT:
                self._sums.popitem(last=False)

    def take(self) -> list[Change]:
        """Some that were added first: they are kept no longer."""
        return [self._sums.popitem(last=False)[1] for _ in range(min(AT_ONCE, len(self._sums)))]
