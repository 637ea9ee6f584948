"""Whose turn it is: smooth weights, the share that explores, and the draw that the next choice falls by."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .load import Target


class WeightedRoundRobin:
    """Of each scope. Its owner has the lock.

    Args:
        random: From 0 up to, not including, 1.
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
        """What the next choice falls by. It stays the same until a choice is made, so that a plan shows it."""
        if self._draw is None:
            self._draw = self._random()
        return self._draw

    @property
    def variant_draw(self) -> float:
        """As `draw`, for the arm of a caller whom nobody named; the same until a call was planned by it."""
        if self._variant_draw is None:
            self._variant_draw = self._random()
        return self._variant_draw

    def planned(self) -> None:
        """A call was planned: the next one gets another variant_draw."""
        self._variant_draw = None

    def current_weight(self, scope: str) -> Mapping[Target, float]:
        """What each target has saved up in ``scope``."""
        return self._current_weights.get(scope, {})

    def weigh(self, scope: str, chosen: Target, weights: Mapping[Target, float]) -> None:
        """Each of those that could be chosen saves up its weight, and the one that was pays for all."""
        current_weight = self._current_weights.setdefault(scope, {})
        for target, weight in weights.items():
            current_weight[target] = current_weight.get(target, 0.0) + weight
        current_weight[chosen] -= sum(weights.values())

    def newcomers(self, scope: str, targets: set[Target]) -> set[Target]:
        """Those of ``targets``, who may be chosen now, who could not be the last time; none the first time."""
        before = self._present.get(scope, targets)
        self._present[scope] = targets
        return targets - before

    def explores(self, scope: str, share: float) -> bool:
        """Whether the next choice in ``scope`` is one of those that look around: every twentieth, say."""
        nth = self._choices.get(scope, 0) + 1
        return int(nth * share) > int((nth - 1) * share)

    def chosen(self, scope: str) -> None:
        """A choice was made in ``scope``."""
        self._choices[scope] += 1
        self._draw = None
