"""Scores of the quality of answers, by feature and endpoint."""

from __future__ import annotations

from collections import defaultdict, deque
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_SCORES = 100


class _Lately:
    """Recent scores, each with its time, and their sum."""

    __slots__ = ("scores", "total")

    def __init__(self) -> None:
        self.scores: deque[tuple[float, float]] = deque()
        self.total = 0.0

    def add(self, at: float, score: float) -> None:
        self.scores.append((at, score))
        self.total += score
        if len(self.scores) > MOST_SCORES:
            self._drop()

    def forget(self, until: float) -> None:
        while self.scores and self.scores[0][0] <= until:
            self._drop()

    def _drop(self) -> None:
        self.total -= self.scores.popleft()[1]


class QualityScores:
    """Collects quality scores of answers, by feature and endpoint. Not thread-safe: the owner holds a lock.

    Args:
        clock: The monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._scores: defaultdict[tuple[str, str], _Lately] = defaultdict(_Lately)

    def mean_score(
        self, feature: str, endpoint: str, *, min_count: int, max_age_seconds: float
    ) -> float | None:
        """The mean score of the last ``max_age_seconds``; None if there are fewer than ``min_count`` scores."""
        lately = self._scores.get((feature, endpoint))
        if lately is None:
            return None
        lately.forget(self._clock() - max_age_seconds)
        return lately.total / len(lately.scores) if len(lately.scores) >= min_count else None

    def best_recent_mean(
        self, feature: str, endpoint: str, *, min_count: int, max_age_seconds: float
    ) -> float | None:
        """The higher of `mean_score` and the mean of the last ``min_count`` scores; None if there are fewer scores.

        So an endpoint that has recovered is trusted again before its old scores expire.
        """
        mean = self.mean_score(feature, endpoint, min_count=min_count, max_age_seconds=max_age_seconds)
        if mean is None:
            return None
        last = islice(reversed(self._scores[feature, endpoint].scores), min_count)
        return max(mean, sum(score for _, score in last) / min_count)

    def record_score(self, feature: str, endpoint: str, score: float) -> None:
        """Record a ``score``, from 0 (bad) to 1 (good), of an answer of ``endpoint`` to ``feature``."""
        self._scores[feature, endpoint].add(self._clock(), score)
