"""The strategy that chooses by latency."""

from __future__ import annotations

from bisect import bisect_right
from math import inf
from typing import TYPE_CHECKING, Literal

from pydantic import Field
from typing_extensions import override

from .base import Stateless

ABOUT = 1.25
"""An endpoint up to this many times slower than the best counts as equally quick."""

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .base import SelectionContext, Some


class Latency(Stateless):
    """Chooses the endpoint with the lowest recent latency times its requests in flight.

    Streams are measured to their first token, whole answers to their end.

    Attributes:
        explore: The share of calls, 0 to 1, that go to the endpoint measured the longest ago, to measure it again.
        stale_after: Seconds since its last measurement before an endpoint is explored again.
    """

    by: Literal["latency"] = "latency"
    explore: float = Field(default=0.05, gt=0, le=0.5)
    stale_after: float = Field(default=2.0, gt=0, le=3600)

    @override
    def order(self, tier: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        """Sort by latency; for an ``explore`` share of calls the endpoint measured the longest ago comes first.

        The latency counts times the requests in flight, this one included, so that simultaneous calls do not all choose
        the endpoint that was quickest before them. Of the endpoints about as quick as the best, two are drawn, and the
        quicker comes first, so that processes that share no state do not all choose the same one either. An endpoint
        without measurements is assumed to be the quickest. Endpoints that fail too often come last.
        """
        traffic = context.traffic
        now, loads = traffic.clock(), traffic.targets.loads([one.target for one in tier])
        known = [load.latency.get(context.latency_kind) for load in loads]
        hopes = [None if latency is None else latency.hoped(now) for latency in known]
        best = min([hope for hope in hopes if hope is not None], default=1.0) if None in hopes else 1.0
        prospects = [
            (
                load.failing is not None and load.failing.is_too_often(now),
                (best if hope is None else hope) * (load.in_flight.count(now) + 1) / one.share,
                load.recent_requests,
            )
            for one, load, hope in zip(tier, loads, hopes, strict=True)
        ]
        prospect_of = prospects.__getitem__
        ranks = sorted(range(len(tier)), key=prospect_of)
        is_failing, quickest, _ = prospects[ranks[0]]
        near = bisect_right(ranks, (is_failing, ABOUT * quickest, inf), key=prospect_of)
        order = [tier[rank] for rank in ranks]
        first = self._stalest(tier, context) or order[_better_of_two(near, traffic.round_robin.draw)]
        return [first, *(one for one in order if one is not first)]

    def _stalest(self, tier: Sequence[Some], context: SelectionContext) -> Some | None:
        """The endpoint measured the longest ago, if this call explores; else None."""
        traffic = context.traffic
        if not traffic.round_robin.explores(tier[0].scope, self.explore):
            return None
        last_measured = [traffic.targets.last_measured(one.target, context.latency_kind) for one in tier]
        place = last_measured.index(min(last_measured))
        is_stale = traffic.clock() - last_measured[place] >= self.stale_after
        return tier[place] if is_stale and not traffic.targets.busy(tier[place].target) else None


def _better_of_two(ranked: int, draw: float) -> int:
    """The better of two different ones of ``ranked`` endpoints; every pair is equally likely."""
    first = int(draw * ranked)
    second = int((draw * ranked - first) * (ranked - 1))
    return min(first, second + (second >= first)) if ranked > 1 else 0
