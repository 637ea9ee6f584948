"""The latency of a feature's slowest answers, and how many of its requests may be hedged.

Kept only for features that hedge.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict, deque
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .load import LatencyKind

REMEMBERED = 128
"""The number of recent answer times that are kept."""
ENOUGH = 20
"""The number of answer times needed to tell where the slow tail begins."""
SLOW = 0.95
"""The share of requests that are answered before the slow tail begins."""
CALLS_PER_HEDGE = 20
"""Calls that earn one hedged request: at most 5 % are hedged."""
MOST_SAVED = 5
"""Hedged requests that can be saved up, for when an endpoint is slow for a while."""


class Tail:
    """The recent answer times of one endpoint, of which the slow tail decides when a request is hedged."""

    __slots__ = ("_in_order", "_recent")

    def __init__(self) -> None:
        self._recent: deque[float] = deque()
        self._in_order: list[float] = []

    def __len__(self) -> int:
        return len(self._recent)

    @property
    def p95(self) -> float | None:
        """The seconds within which 95 % of requests are answered; None until `ENOUGH` times are known."""
        known = len(self._in_order)
        return self._in_order[ceil(SLOW * known) - 1] if known >= ENOUGH else None

    def took(self, seconds: float) -> None:
        """Record an answer that took ``seconds``."""
        if len(self._recent) == REMEMBERED:
            del self._in_order[bisect_left(self._in_order, self._recent.popleft())]
        self._recent.append(seconds)
        insort(self._in_order, seconds)

    def took_at_least(self, seconds: float) -> None:
        """Record a request that was cancelled after ``seconds``, if this is at least `p95`; else ignore it."""
        begins = self.p95
        if begins is not None and seconds >= begins:
            self.took(seconds)


class TailLatency:
    """The answer times of each endpoint, by feature. Not thread-safe: the owner holds a lock."""

    def __init__(self) -> None:
        self._tails: defaultdict[tuple[str, str, LatencyKind], Tail] = defaultdict(Tail)

    def of(self, feature: str, endpoint: str, latency_kind: LatencyKind) -> Tail:
        """The times of ``endpoint``'s answers to ``feature``: to the first token for streams, else to the whole answer."""
        return self._tails[feature, endpoint, latency_kind]


class HedgeBudget:
    """How many more hedging requests each feature may send: a share of its calls. Not thread-safe: the owner holds a lock."""

    def __init__(self) -> None:
        self._earned: defaultdict[str, int] = defaultdict(int)

    def earn(self, feature: str) -> None:
        """Count a call of ``feature``, which earns 1/`CALLS_PER_HEDGE` of a hedged request."""
        self._earned[feature] = min(self._earned[feature] + 1, CALLS_PER_HEDGE * MOST_SAVED)

    def can_spend(self, feature: str) -> bool:
        """Whether ``feature`` has earned a whole hedging request."""
        return self._earned[feature] >= CALLS_PER_HEDGE

    def spend(self, feature: str) -> None:
        """Subtract one hedged request from those that ``feature`` has earned."""
        self._earned[feature] -= CALLS_PER_HEDGE
