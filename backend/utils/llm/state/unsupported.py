"""What endpoints said that they do not take, so that the next call need not be told again."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

SECONDS = 3600.0
"""For so long it is remembered: vendors add features."""
MOST_ENDPOINTS = 1024
"""Of so many, with each key; beyond that the oldest is forgotten."""


class Unsupported:
    """Features by endpoint. Whoever uses it holds the lock of all traffic.

    Args:
        clock: The monotonic clock, in seconds.

    Attributes:
        until: Endpoint to feature to the end of the memory. Empty if nothing is known, which is to be seen at a glance.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.until: OrderedDict[Hashable, dict[str, float]] = OrderedDict()

    def add(self, endpoint: Hashable, feature: str) -> None:
        """Remember that ``endpoint`` does not take ``feature``."""
        self.until.setdefault(endpoint, {})[feature] = self._clock() + SECONDS
        self.until.move_to_end(endpoint)
        if len(self.until) > MOST_ENDPOINTS:
            self.until.popitem(last=False)

    def of(self, endpoint: Hashable) -> Mapping[str, float]:
        """The features that ``endpoint`` lately refused, each with the seconds for which that is still remembered."""
        known = self.until.get(endpoint)
        if known is None:
            return {}
        now = self._clock()
        left = {feature: until - now for feature, until in known.items() if until > now}
        if not left:
            del self.until[endpoint]
        return left
