"""When a second request may go out beside a call's first one, and where to. `Dispatch` says whether it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..routing.plan import unhedged
from ..routing.selection import timed
from ..strategies import Custom

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..routing.route import Route
    from ..state.traffic import Traffic
    from .steps import Pending, Try


def after(step: Try, pending: Sequence[Pending], route: Route, traffic: Traffic) -> float | None:
    """In how many seconds it may go out beside ``step``, the call's first request; None if it may not.

    Nearly all that will take so long have by then been answered: the others are in the slow tail.
    """
    feature, first = route.feature, step.candidate
    traffic.hedge_budget.earn(feature.name)
    if not traffic.hedge_budget.can_spend(feature.name) or unhedged(
        first, (one.candidate for one in pending), feature
    ):
        return None
    seconds = traffic.tail_latency.of(feature.name, str(first.endpoint), timed(route.needs)).p95
    return seconds if seconds is not None and seconds < step.seconds else None


def order(tiers: Iterable[Sequence[Pending]], step: Try) -> Iterator[Pending]:
    """Where it may go, in the order in which the call would try them. Where a selector would be asked, it ends."""
    for tier in tiers:
        if isinstance(tier[0].candidate.select, Custom):
            return
        yield from (one for one in tier if one.candidate.endpoint != step.candidate.endpoint)
