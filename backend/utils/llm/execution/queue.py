"""What one call may still send, and in which order."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from ..cached import cached_property
from ..routing.selection import ordered, selection_context
from ..strategies import Ordered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..routing.route import Candidate, Route
    from ..state.traffic import Traffic
    from ..strategies import SelectionContext


class Pending(NamedTuple):
    """One request that may still be sent.

    Attributes:
        not_before: In seconds of the monotonic clock.
        repair: Whether the last answer's fault is fed back.
        is_retry: Whether the endpoint was asked before.
    """

    candidate: Candidate
    not_before: float = 0.0
    repair: bool = False
    is_retry: bool = False


class Queue:
    """The requests that are left of one call.

    Args:
        route: Of the call.
        traffic: What a choice among its candidates goes by.
    """

    def __init__(self, route: Route, traffic: Traffic) -> None:
        self.left = [Pending(candidate) for candidate in route.candidates]
        self._route = route
        self._traffic = traffic

    @cached_property
    def context(self) -> SelectionContext:
        """What a choice depends on."""
        return selection_context(self._route.needs, self._route.caller, self._traffic)

    def tiers(self) -> Iterator[list[Pending]]:
        """What is left, tier by tier, in the order in which it would be tried now."""
        for _, run in groupby(self.left, key=attrgetter("candidate.rank")):
            tier = list(run)
            yield tier if isinstance(tier[0].candidate.select, Ordered) else self._chosen_order(tier)

    def _chosen_order(self, tier: list[Pending]) -> list[Pending]:
        """Those not asked yet as their strategy says; retries keep their places before or after them."""
        fresh = {one.candidate.circuit: one for one in tier if not one.is_retry}
        if len(fresh) < 2:  # noqa: PLR2004 - nothing to choose
            return tier
        order = ordered([one.candidate for one in fresh.values()], self.context)
        first = next(place for place, one in enumerate(tier) if not one.is_retry)
        retries = [one for one in tier if one.is_retry]
        return [*retries[:first], *(fresh[one.circuit] for one in order), *retries[first:]]

    def beside(self, candidate: Candidate) -> list[Pending]:
        """Those of its tier that were not asked yet."""
        return [one for one in self.left if not one.is_retry and one.candidate.rank == candidate.rank]

    def remove(self, pending: Pending) -> None:
        """It goes out."""
        self.left = [one for one in self.left if one is not pending]

    def replace(self, pending: Pending, other: Pending) -> None:
        """``other`` takes its place."""
        self.left = [other if one is pending else one for one in self.left]

    def retry(self, again: Pending) -> None:
        """At once; but where each is as good as the other, after those that were not asked yet."""
        candidate = again.candidate
        self.left.insert(len(self.beside(candidate)) if candidate.is_balanced else 0, again)
