"""How long the slowest answers of a feature take, and how many of its calls may be hedged because of that.

Only of features that hedge: for all others nothing is kept.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict, deque
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .load import LatencyKind

REMEMBERED = 128
"""The times of so many requests of late are known."""
ENOUGH = 20
"""With fewer of them nobody can tell where the slow tail begins."""
SLOW = 0.95
"""Of the requests this share is answered before the tail begins."""
CALLS_PER_HEDGE = 20
"""One hedge for so many calls: 5 % of them."""
MOST_SAVED = 5
"""So many hedges can be saved up, for when an endpoint is slow for a while."""


class Tail:
    """The times of one endpoint's answers."""

    __slots__ = ("_in_order", "_recent")

    def __init__(self) -> None:
        self._recent: deque[float] = deque()
        self._in_order: list[float] = []

    def __len__(self) -> int:
        return len(self._recent)

    @property
    def p95(self) -> float | None:
        """The seconds within which nineteen of twenty are answered; None until enough are known."""
        known = len(self._in_order)
        return self._in_order[ceil(SLOW * known) - 1] if known >= ENOUGH else None

    def took(self, seconds: float) -> None:
        """An answer took so long."""
        if len(self._recent) == REMEMBERED:
            del self._in_order[bisect_left(self._in_order, self._recent.popleft())]
        self._recent.append(seconds)
        insort(self._in_order, seconds)

    def took_at_least(self, seconds: float) -> None:
        """Nobody waited any longer than that. It counts if it was in the tail by then; else nobody knows."""
        begins = self.p95
        if begins is not None and seconds >= begins:
            self.took(seconds)


class TailLatency:
    """Every endpoint's, for each feature by itself. Its owner has the lock."""

    def __init__(self) -> None:
        self._tails: defaultdict[tuple[str, str, LatencyKind], Tail] = defaultdict(Tail)

    def of(self, feature: str, endpoint: str, latency_kind: LatencyKind) -> Tail:
        """The times of ``endpoint``'s answers to ``feature``: to the first token of streams, or of whole answers."""
        return self._tails[feature, endpoint, latency_kind]


class HedgeBudget:
    """How many hedges each feature has earned. Its owner has the lock."""

    def __init__(self) -> None:
        self._earned: defaultdict[str, int] = defaultdict(int)

    def earn(self, feature: str) -> None:
        """A call earns its share of a hedge."""
        self._earned[feature] = min(self._earned[feature] + 1, CALLS_PER_HEDGE * MOST_SAVED)

    def can_spend(self, feature: str) -> bool:
        """Whether a hedge has been earned."""
        return self._earned[feature] >= CALLS_PER_HEDGE

    def spend(self, feature: str) -> None:
        """A hedge goes out."""
        self._earned[feature] -= CALLS_PER_HEDGE
