"""Strategies that balance equally good endpoints: by weight, by recent use, by load, or by the reset of quotas."""

from __future__ import annotations

from abc import ABC
from collections import Counter
from math import inf, log2
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from typing_extensions import override

from ..state.rate_limiter import first_reset
from .base import Stateless, Strategy, sorted_by

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..state.load import Target
    from .base import Choosable, SelectionContext, Some


class Weighted(Strategy):
    """Chooses endpoints in turn, in proportion to their weights. The default weight is 1."""

    by: Literal["weighted"] = "weighted"
    weights: dict[str, Annotated[int, Field(gt=0, le=1000)]] = Field(default_factory=dict)

    @override
    def order(self, tier: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        saved_up = context.traffic.round_robin.current_weight(tier[0].scope)
        weights = self._weights(tier)
        return sorted_by([-saved_up.get(one.target, 0.0) - weights[one.target] for one in tier], tier)

    @override
    def chosen(self, one: Choosable, among: Sequence[Choosable], context: SelectionContext) -> None:
        context.traffic.round_robin.weigh(one.scope, one.target, self._weights(among))

    @override
    def named(self) -> Iterator[tuple[str, str]]:
        return (("weights", name) for name in self.weights)

    def _weights(self, tier: Sequence[Choosable]) -> dict[Target, float]:
        """The weight of each endpoint and account: accounts share the endpoint's weight by their own."""
        totals: Counter[str] = Counter()
        for one in tier:
            totals[one.target[0]] += one.share
        return {
            one.target: self.weights.get(one.target[0], 1) * one.share / totals[one.target[0]] for one in tier
        }


class _Levelling(Strategy, ABC):
    """A strategy that does not flood an endpoint that was unavailable for a while."""

    @override
    def chosen(self, one: Choosable, among: Sequence[Choosable], context: SelectionContext) -> None:
        """Let each endpoint that was not available at the last choice start level with the others."""
        traffic = context.traffic
        new = traffic.round_robin.newcomers(one.scope, {other.target for other in among})
        if not new:
            return
        uses = zip(among, _uses(among, context), strict=True)
        level = min((used for other, used in uses if other.target not in new), default=-inf)
        for other in among:
            if other.target in new:
                traffic.targets.level_up(other.target, level + log2(other.share))

    @override
    def named(self) -> tuple[()]:
        return ()


class LeastUsed(_Levelling):
    """Chooses the endpoint with the fewest recent requests: a count with a half-life of one minute."""

    by: Literal["least_used"] = "least_used"

    @override
    def order(self, tier: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        return sorted_by(_uses(tier, context), tier)


class LeastBusy(_Levelling):
    """Chooses the endpoint with the fewest requests in flight."""

    by: Literal["least_busy"] = "least_busy"

    @override
    def order(self, tier: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        """Sort by requests in flight, then by recent requests. Endpoints that fail too often come last."""
        now, loads = context.traffic.clock(), context.traffic.targets.loads([one.target for one in tier])
        keys = [
            (
                load.failing is not None and load.failing.is_too_often(now),
                load.in_flight.count(now) / one.share,
                load.recent_requests - log2(one.share),
            )
            for one, load in zip(tier, loads, strict=True)
        ]
        return sorted_by(keys, tier)


def _uses(tier: Sequence[Choosable], context: SelectionContext) -> list[float]:
    """The recent use of each endpoint relative to its share, as logarithms."""
    loads = context.traffic.targets.loads([one.target for one in tier])
    return [load.recent_requests - log2(one.share) for one, load in zip(tier, loads, strict=True)]


class Quota(Stateless):
    """Chooses the endpoint whose quota is reset soonest and has room left, because unused quota is lost at the reset."""

    by: Literal["quota"] = "quota"

    @override
    def order(self, tier: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        resets = context.traffic.rate_limiter.resets()
        return sorted_by([first_reset(one.meters, resets) for one in tier], tier)
