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


class RecentLatencies:
    """The recent answer times of one endpoint. They decide after how long a request is hedged."""

    __slots__ = ("_in_order", "_recent")

    def __init__(self) -> None:
        self._recent: deque[float] = deque()
        self._in_order: list[float] = []

    def __len__(self) -> int:
        return len(self._recent)

    @property
    def p95(self) -> float | None:
        """The 95th percentile of the answer times, in seconds; None until `ENOUGH` times are known."""
        known = len(self._in_order)
        return self._in_order[ceil(SLOW * known) - 1] if known >= ENOUGH else None

    def record_answer(self, seconds: float) -> None:
        """Record an answer that took ``seconds``."""
        if len(self._recent) == REMEMBERED:
            del self._in_order[bisect_left(self._in_order, self._recent.popleft())]
        self._recent.append(seconds)
        insort(self._in_order, seconds)

    def record_unfinished_request(self, seconds: float) -> None:
        """Record a request that was cancelled after ``seconds``. Ignored if `p95` is unknown or greater."""
        begins = self.p95
        if begins is not None and seconds >= begins:
            self.record_answer(seconds)


class TailLatencyTracker:
    """The recent answer times of each endpoint, by feature. Not thread-safe: the owner holds a lock."""

    def __init__(self) -> None:
        self._tails: defaultdict[tuple[str, str, LatencyKind], RecentLatencies] = defaultdict(RecentLatencies)

    def recent_latencies(self, feature: str, endpoint: str, latency_kind: LatencyKind) -> RecentLatencies:
        """The recent answer times of ``endpoint`` for ``feature``, of one kind.

        ``latency_kind`` is the time to the first token for streams, else the time to the end of the answer.
        """
        return self._tails[feature, endpoint, latency_kind]


class HedgeBudget:
    """Limits hedged requests to a share of each feature's calls. Not thread-safe: the owner holds a lock."""

    def __init__(self) -> None:
        self._earned: defaultdict[str, int] = defaultdict(int)

    def record_call(self, feature: str) -> None:
        """Count a call of ``feature``. Every `CALLS_PER_HEDGE` calls earn one hedged request."""
        self._earned[feature] = min(self._earned[feature] + 1, CALLS_PER_HEDGE * MOST_SAVED)

    def can_hedge(self, feature: str) -> bool:
        """Whether ``feature`` has earned at least one hedged request."""
        return self._earned[feature] >= CALLS_PER_HEDGE

    def spend_hedge(self, feature: str) -> None:
        """Subtract one hedged request from those that ``feature`` has earned."""
        self._earned[feature] -= CALLS_PER_HEDGE
