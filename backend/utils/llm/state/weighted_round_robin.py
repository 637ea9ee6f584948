"""Smooth weighted round robin, exploration, and the random number behind the next choice."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .load import Target


class WeightedRoundRobin:
    """Smooth weighted round robin, separately for each scope. Not thread-safe: the owner holds a lock.

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
    def choice_random_number(self) -> float:
        """The random number, from 0 up to 1, that the next choice uses.

        It stays the same until a choice is made, so that planning a call repeatedly gives the same result.
        """
        if self._draw is None:
            self._draw = self._random()
        return self._draw

    @property
    def variant_random_number(self) -> float:
        """The random number, from 0 up to 1, that picks the variant of an anonymous caller.

        It stays the same until a call was planned.
        """
        if self._variant_draw is None:
            self._variant_draw = self._random()
        return self._variant_draw

    def reset_variant_random_number(self) -> None:
        """Discard `variant_random_number`, so that its next use draws a new one."""
        self._variant_draw = None

    def current_weights(self, scope: str) -> Mapping[Target, float]:
        """The current weight of each target in ``scope``, as smooth weighted round robin keeps it."""
        return self._current_weights.get(scope, {})

    def update_weights(self, scope: str, chosen: Target, weights: Mapping[Target, float]) -> None:
        """Update the current weights after a choice.

        Each target gains its weight in ``weights``, and ``chosen`` loses the sum of all weights.
        """
        current_weight = self._current_weights.setdefault(scope, {})
        for target, weight in weights.items():
            current_weight[target] = current_weight.get(target, 0.0) + weight
        current_weight[chosen] -= sum(weights.values())

    def find_and_record_new_targets(self, scope: str, targets: set[Target]) -> set[Target]:
        """Return the ``targets`` that were not available at the last choice in ``scope``; none at the first choice.

        Records ``targets`` as the available targets for the next choice.
        """
        before = self._present.get(scope, targets)
        self._present[scope] = targets
        return targets - before

    def should_explore(self, scope: str, share: float) -> bool:
        """Whether the next choice in ``scope`` explores another endpoint; with ``share`` 0.05, every twentieth does."""
        nth = self._choices.get(scope, 0) + 1
        return int(nth * share) > int((nth - 1) * share)

    def record_choice(self, scope: str) -> None:
        """Count a choice in ``scope``, and discard `choice_random_number`, so that the next choice draws a new one."""
        self._choices[scope] += 1
        self._draw = None
