"""Whose turn it is: smooth weights, the share that explores, and the dice that the next choice falls by."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .load import Member


class WeightedRoundRobin:
    """Of each scope. Its owner has the lock.

    Args:
        random: From 0 up to, not including, 1.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._thrown: float | None = None
        self._tossed: float | None = None
        self._standing: dict[str, dict[Member, float]] = {}
        self._choices: defaultdict[str, int] = defaultdict(int)
        self._present: dict[str, set[Member]] = {}

    @property
    def dice(self) -> float:
        """What the next choice falls by. It stays the same until a choice is made, so that a plan shows it."""
        if self._thrown is None:
            self._thrown = self._random()
        return self._thrown

    @property
    def toss(self) -> float:
        """As `dice`, for the arm of a caller whom nobody named; the same until a call was planned by it."""
        if self._tossed is None:
            self._tossed = self._random()
        return self._tossed

    def planned(self) -> None:
        """A call was planned: the next one gets another toss."""
        self._tossed = None

    def current_weight(self, scope: str) -> Mapping[Member, float]:
        """What each member has saved up in ``scope``."""
        return self._standing.get(scope, {})

    def weigh(self, scope: str, chosen: Member, weights: Mapping[Member, float]) -> None:
        """Each of those that could be chosen saves up its weight, and the one that was pays for all."""
        current_weight = self._standing.setdefault(scope, {})
        for member, weight in weights.items():
            current_weight[member] = current_weight.get(member, 0.0) + weight
        current_weight[chosen] -= sum(weights.values())

    def newcomers(self, scope: str, members: set[Member]) -> set[Member]:
        """Those of ``members``, who may be chosen now, who could not be the last time; none the first time."""
        before = self._present.get(scope, members)
        self._present[scope] = members
        return members - before

    def explores(self, scope: str, share: float) -> bool:
        """Whether the next choice in ``scope`` is one of those that look around: every twentieth, say."""
        nth = self._choices.get(scope, 0) + 1
        return int(nth * share) > int((nth - 1) * share)

    def chosen(self, scope: str) -> None:
        """A choice was made in ``scope``."""
        self._choices[scope] += 1
        self._thrown = None
