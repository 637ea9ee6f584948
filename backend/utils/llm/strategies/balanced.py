"""Strategies that balance equally good endpoints: by weight, by recent use, by load, or by the reset of quotas."""

from __future__ import annotations

from abc import ABC
from collections import Counter
from math import inf, log2
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from typing_extensions import override

from ..state.rate_limiter import find_first_quota_reset
from .base import SelectionStrategy, StatelessStrategy, sort_by_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..state.load import Target
    from .base import SelectableEndpoint, SelectionContext, Some


class WeightedStrategy(SelectionStrategy):
    """Chooses endpoints in turn, in proportion to their ``weights``; the default weight is 1."""

    by: Literal["weighted"] = "weighted"
    weights: dict[str, Annotated[int, Field(gt=0, le=1000)]] = Field(default_factory=dict)

    @override
    def order_endpoints(self, candidates: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        saved_up = context.traffic.round_robin.current_weights(candidates[0].scope)
        weights = self._weights(candidates)
        return sort_by_keys(
            [
                -saved_up.get(candidate.traffic_key, 0.0) - weights[candidate.traffic_key]
                for candidate in candidates
            ],
            candidates,
        )

    @override
    def record_choice(
        self, selected: SelectableEndpoint, available: Sequence[SelectableEndpoint], context: SelectionContext
    ) -> None:
        context.traffic.round_robin.update_weights(
            selected.scope, selected.traffic_key, self._weights(available)
        )

    @override
    def endpoints_in_settings(self) -> Iterator[tuple[str, str]]:
        return (("weights", name) for name in self.weights)

    def _weights(self, tier: Sequence[SelectableEndpoint]) -> dict[Target, float]:
        """The weight of each endpoint and account: accounts share the endpoint's weight by their own."""
        totals: Counter[str] = Counter()
        for endpoint in tier:
            totals[endpoint.traffic_key[0]] += endpoint.account_weight
        return {
            endpoint.traffic_key: self.weights.get(endpoint.traffic_key[0], 1)
            * endpoint.account_weight
            / totals[endpoint.traffic_key[0]]
            for endpoint in tier
        }


class _Levelling(SelectionStrategy, ABC):
    """A strategy that does not flood an endpoint that was unavailable for a while."""

    @override
    def record_choice(
        self, selected: SelectableEndpoint, available: Sequence[SelectableEndpoint], context: SelectionContext
    ) -> None:
        """Let each endpoint that was not available at the last choice start level with the others."""
        traffic = context.traffic
        new = traffic.round_robin.find_and_record_new_targets(
            selected.scope, {other.traffic_key for other in available}
        )
        if not new:
            return
        uses = zip(available, _uses(available, context), strict=True)
        level = min((used for other, used in uses if other.traffic_key not in new), default=-inf)
        for other in available:
            if other.traffic_key in new:
                traffic.targets.set_min_recent_requests(other.traffic_key, level + log2(other.account_weight))

    @override
    def endpoints_in_settings(self) -> tuple[()]:
        return ()


class LeastUsedStrategy(_Levelling):
    """Chooses the endpoint with the fewest recent requests. A request counts half after a minute."""

    by: Literal["least_used"] = "least_used"

    @override
    def order_endpoints(self, candidates: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        return sort_by_keys(_uses(candidates, context), candidates)


class LeastBusyStrategy(_Levelling):
    """Chooses the endpoint with the fewest requests in flight."""

    by: Literal["least_busy"] = "least_busy"

    @override
    def order_endpoints(self, candidates: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        """Sort by requests in flight, then by recent requests. Endpoints that fail too often come last."""
        now, loads = (
            context.traffic.clock(),
            context.traffic.targets.list_loads([candidate.traffic_key for candidate in candidates]),
        )
        keys = [
            (
                load.failing is not None and load.failing.is_too_high(now),
                load.in_flight.count(now) / candidate.account_weight,
                load.recent_requests - log2(candidate.account_weight),
            )
            for candidate, load in zip(candidates, loads, strict=True)
        ]
        return sort_by_keys(keys, candidates)


def _uses(tier: Sequence[SelectableEndpoint], context: SelectionContext) -> list[float]:
    """The recent use of each endpoint relative to its share, as logarithms."""
    loads = context.traffic.targets.list_loads([endpoint.traffic_key for endpoint in tier])
    return [
        load.recent_requests - log2(endpoint.account_weight)
        for endpoint, load in zip(tier, loads, strict=True)
    ]


class QuotaResetStrategy(StatelessStrategy):
    """Chooses the endpoint whose daily or monthly quota is reset soonest: unused quota is lost at the reset."""

    by: Literal["quota"] = "quota"

    @override
    def order_endpoints(self, candidates: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        resets = context.traffic.rate_limiter.next_quota_resets()
        return sort_by_keys(
            [find_first_quota_reset(candidate.meters, resets) for candidate in candidates], candidates
        )
