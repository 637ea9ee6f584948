"""The strategy that chooses by latency."""

from __future__ import annotations

from bisect import bisect_right
from math import inf
from typing import TYPE_CHECKING, Literal

from pydantic import Field
from typing_extensions import override

from .base import StatelessStrategy

ABOUT = 1.25
"""An endpoint up to this many times slower than the best counts as equally quick."""

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .base import SelectionContext, Some


class LatencyStrategy(StatelessStrategy):
    """Chooses the endpoint with the lowest recent latency, multiplied by its requests in flight.

    The latency of a stream ends with its first token, of other calls with the whole answer.

    Attributes:
        explore: The share of calls, 0 to 1, that measure again the endpoint that was measured the longest
            ago.
        stale_after: Seconds after its last measurement from which an endpoint is measured again.
    """

    by: Literal["latency"] = "latency"
    explore: float = Field(default=0.05, gt=0, le=0.5)
    stale_after: float = Field(default=2.0, gt=0, le=3600)

    @override
    def order_endpoints(self, candidates: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        """Sort by latency multiplied by the requests in flight, including this one. High failure rates come last.

        An ``explore`` share of calls begins with the endpoint that was measured the longest ago. Otherwise two of
        the endpoints about as quick as the best are drawn at random and the quicker comes first, so that concurrent
        processes choose different endpoints. An endpoint without measurements counts as the quickest.
        """
        traffic = context.traffic
        now, loads = (
            traffic.clock(),
            traffic.targets.list_loads([candidate.traffic_key for candidate in candidates]),
        )
        known = [load.latency.get(context.latency_kind) for load in loads]
        hopes = [None if latency is None else latency.expected_seconds(now) for latency in known]
        best = min([hope for hope in hopes if hope is not None], default=1.0) if None in hopes else 1.0
        prospects = [
            (
                load.failing is not None and load.failing.is_too_high(now),
                (best if hope is None else hope) * (load.in_flight.count(now) + 1) / candidate.account_weight,
                load.recent_requests,
            )
            for candidate, load, hope in zip(candidates, loads, hopes, strict=True)
        ]
        prospect_of = prospects.__getitem__
        ranks = sorted(range(len(candidates)), key=prospect_of)
        is_failing, quickest, _ = prospects[ranks[0]]
        near = bisect_right(ranks, (is_failing, ABOUT * quickest, inf), key=prospect_of)
        order = [candidates[rank] for rank in ranks]
        first = (
            self._stalest(candidates, context)
            or order[_better_of_two(near, traffic.round_robin.choice_random_number)]
        )
        return [first, *(candidate for candidate in order if candidate is not first)]

    def _stalest(self, tier: Sequence[Some], context: SelectionContext) -> Some | None:
        """The endpoint measured the longest ago, if this call explores; else None."""
        traffic = context.traffic
        if not traffic.round_robin.should_explore(tier[0].scope, self.explore):
            return None
        last_measured = [
            traffic.targets.last_measured_at(candidate.traffic_key, context.latency_kind)
            for candidate in tier
        ]
        place = last_measured.index(min(last_measured))
        is_stale = traffic.clock() - last_measured[place] >= self.stale_after
        return (
            tier[place] if is_stale and not traffic.targets.in_flight_count(tier[place].traffic_key) else None
        )


def _better_of_two(ranked: int, draw: float) -> int:
    """The better of two different ones of ``ranked`` endpoints; every pair is equally likely."""
    first = int(draw * ranked)
    second = int((draw * ranked - first) * (ranked - 1))
    return min(first, second + (second >= first)) if ranked > 1 else 0
