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


class UnsupportedCapabilities:
    """The capabilities and options that endpoints have rejected as unsupported. Later calls avoid them.

    Not thread-safe: the caller holds the lock of `TrafficState`.

    Args:
        clock: The monotonic clock, in seconds.

    Attributes:
        until: By endpoint and capability, when the rejection is forgotten. Public for a quick check whether
            it is empty.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.until: OrderedDict[Hashable, dict[str, float]] = OrderedDict()

    def record_rejection(self, endpoint: Hashable, capability: str) -> None:
        """Remember for an hour that ``endpoint`` does not support ``capability``."""
        self.until.setdefault(endpoint, {})[capability] = self._clock() + SECONDS
        self.until.move_to_end(endpoint)
        if len(self.until) > MOST_ENDPOINTS:
            self.until.popitem(last=False)

    def list_unsupported(self, endpoint: Hashable) -> Mapping[str, float]:
        """The capabilities that ``endpoint`` rejected in the last hour, with the seconds until each is forgotten."""
        known = self.until.get(endpoint)
        if known is None:
            return {}
        now = self._clock()
        left = {feature: until - now for feature, until in known.items() if until > now}
        if not left:
            del self.until[endpoint]
        return left
