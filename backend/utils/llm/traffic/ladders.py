"""How far up a ladder a conversation stands, and how good the answers of each rung were."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_CONVERSATIONS = 10_000
"""Beyond this many the one that was heard of longest ago is forgotten."""
MOST_SCORES = 100


class Rungs:
    """The endpoint that served each conversation last. Its owner has the lock."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, str], str] = OrderedDict()

    def last(self, scope: str, conversation: str) -> str | None:
        """The endpoint that served ``conversation`` last."""
        return self._last.get((scope, conversation))

    def served(self, scope: str, conversation: str, endpoint: str) -> None:
        """``endpoint`` serves ``conversation`` now."""
        self._last[scope, conversation] = endpoint
        self._last.move_to_end((scope, conversation))
        if len(self._last) > MOST_CONVERSATIONS:
            self._last.popitem(last=False)


class Scores:
    """How good the answers to each feature were, by endpoint. Its owner has the lock.

    Args:
        clock: The monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._scores: dict[tuple[str, str], deque[tuple[float, float]]] = {}

    def mean(self, feature: str, endpoint: str, *, least: int, remember: float) -> float | None:
        """The mean of the last scores; None if there are fewer than ``least`` in the last ``remember`` seconds."""
        since = self._clock() - remember
        recent = [score for at, score in self._scores.get((feature, endpoint), ()) if at > since]
        return sum(recent) / len(recent) if len(recent) >= least else None

    def add(self, feature: str, endpoint: str, score: float) -> None:
        """One more, from 0 to 1."""
        scores = self._scores.setdefault((feature, endpoint), deque(maxlen=MOST_SCORES))
        scores.append((self._clock(), score))
