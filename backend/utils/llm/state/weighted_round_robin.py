"""Smooth weighted round robin, exploration, and the random number behind the next choice."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .load import Target


class WeightedRoundRobin:
    """Smooth weighted round robin, for each scope separately. Not thread-safe: the owner holds a lock.

    Args:
        random: Returns a random number from 0 up to, not including, 1.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._draw: float | None = None
        self._variant_draw: float | None = None
        self._current_weights: dict[str, dict[Target, float]] = {}
        self._choices: defaultdict[str, int] = defaultdict(int)
        self._present: dict[str, set[Target]] = {}

    @property
    def draw(self) -> float:
        """The random number from 0 up to 1 for the next choice. It changes only after a choice, so that plans show the same choice."""
        if self._draw is None:
            self._draw = self._random()
        return self._draw

    @property
    def variant_draw(self) -> float:
        """The random number that picks an anonymous caller's variant. It changes only after a planned call."""
        if self._variant_draw is None:
            self._variant_draw = self._random()
        return self._variant_draw

    def planned(self) -> None:
        """Draw a new random number for `variant_draw`."""
        self._variant_draw = None

    def current_weight(self, scope: str) -> Mapping[Target, float]:
        """The current weight of each target in ``scope``; the greatest is chosen next."""
        return self._current_weights.get(scope, {})

    def weigh(self, scope: str, chosen: Target, weights: Mapping[Target, float]) -> None:
        """Update the weights after ``chosen`` was chosen: each gains its own weight, and ``chosen`` loses the sum of all."""
        current_weight = self._current_weights.setdefault(scope, {})
        for target, weight in weights.items():
            current_weight[target] = current_weight.get(target, 0.0) + weight
        current_weight[chosen] -= sum(weights.values())

    def newcomers(self, scope: str, targets: set[Target]) -> set[Target]:
        """Find the ``targets`` that were not available at the last choice in ``scope``, and remember ``targets`` for the next choice.

        Empty at the first choice.
        """
        before = self._present.get(scope, targets)
        self._present[scope] = targets
        return targets - before

    def explores(self, scope: str, share: float) -> bool:
        """Whether the next choice in ``scope`` should measure a neglected endpoint: with a ``share`` of 0.05, every twentieth."""
        nth = self._choices.get(scope, 0) + 1
        return int(nth * share) > int((nth - 1) * share)

    def chosen(self, scope: str) -> None:
        """Count a choice in ``scope``, and draw a new random number for the next."""
        self._choices[scope] += 1
        self._draw = None
