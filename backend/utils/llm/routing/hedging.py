"""The delay after which a call's first request is hedged by a second one. `Dispatch` decides whether, and where to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..strategies import CustomStrategy
from .route import HedgeDelay
from .selection import latency_kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..model_config import Feature
    from ..state.traffic import TrafficState
    from .route import Candidate, Needs

LEAST_REQUESTS = 2
"""The fewest requests that a call must be allowed to send for a hedge."""


def compute_hedge_delay(
    first: Candidate, others: Iterable[Candidate], feature: Feature, needs: Needs, traffic: TrafficState
) -> HedgeDelay:
    """Compute after how many seconds a request to ``first`` is hedged by a second request to one of ``others``.

    It is the 95th percentile of the latencies of ``first``, so that only unusually slow requests are hedged.
    """
    never = _never(first, others, feature)
    tail = traffic.tail_latency.recent_latencies(feature.name, str(first.endpoint), latency_kind(needs))
    return HedgeDelay(tail.p95 if never is None else None, len(tail), never)


def _never(first: Candidate, others: Iterable[Candidate], feature: Feature) -> str | None:
    """Why no second request may be sent beside the first to ``first``; None if it may."""
    if isinstance(first.select, CustomStrategy):
        return "a selector of the application chooses"
    if feature.max_attempts < LEAST_REQUESTS:
        return "a call may send one request only"
    if all(other.endpoint == first.endpoint for other in others):
        return "no second endpoint may serve"
    return None
