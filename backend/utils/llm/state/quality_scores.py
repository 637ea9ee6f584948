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
    """The scores of the answers to each feature, by endpoint. Not thread-safe: the owner holds a lock.

    Args:
        clock: The monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._scores: defaultdict[tuple[str, str], _Lately] = defaultdict(_Lately)

    def mean(self, feature: str, endpoint: str, *, least: int, remember: float) -> float | None:
        """The mean score of the last ``remember`` seconds; None if there are fewer than ``least`` scores."""
        lately = self._scores.get((feature, endpoint))
        if lately is None:
            return None
        lately.forget(self._clock() - remember)
        return lately.total / len(lately.scores) if len(lately.scores) >= least else None

    def quality(self, feature: str, endpoint: str, *, least: int, remember: float) -> float | None:
        """`mean`, or the mean of the last ``least`` scores if that is better: an endpoint that recovered is trusted again."""
        mean = self.mean(feature, endpoint, least=least, remember=remember)
        if mean is None:
            return None
        last = islice(reversed(self._scores[feature, endpoint].scores), least)
        return max(mean, sum(score for _, score in last) / least)

    def add(self, feature: str, endpoint: str, score: float) -> None:
        """Record one ``score``, from 0 (bad) to 1 (good), for an answer of ``endpoint``."""
        self._scores[feature, endpoint].add(self._clock(), score)
