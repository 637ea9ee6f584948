"""Features that endpoints have refused as unsupported, so that the next call does not send them."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

SECONDS = 3600.0
"""Seconds for which a refusal is remembered: vendors add features."""
MOST_ENDPOINTS = 1024
"""Pairs of endpoint and key kept; beyond that the least recently refused is forgotten."""


class Unsupported:
    """Refused features by endpoint. Not thread-safe: the caller holds the lock of `Traffic`.

    Args:
        clock: The monotonic clock, in seconds.

    Attributes:
        until: By endpoint and feature, when the refusal is forgotten. Public, so that callers can see cheaply that it is empty.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.until: OrderedDict[Hashable, dict[str, float]] = OrderedDict()

    def add(self, endpoint: Hashable, feature: str) -> None:
        """Remember for `SECONDS` that ``endpoint`` does not support ``feature``."""
        self.until.setdefault(endpoint, {})[feature] = self._clock() + SECONDS
        self.until.move_to_end(endpoint)
        if len(self.until) > MOST_ENDPOINTS:
            self.until.popitem(last=False)

    def of(self, endpoint: Hashable) -> Mapping[str, float]:
        """The features that ``endpoint`` refused in the last hour, each with the seconds until the refusal is forgotten."""
        known = self.until.get(endpoint)
        if known is None:
            return {}
        now = self._clock()
        left = {feature: until - now for feature, until in known.items() if until > now}
        if not left:
            del self.until[endpoint]
        return left
