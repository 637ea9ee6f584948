"""The order of the candidates: each tier in the order of its strategy.

`order_candidates` changes no state, so that a plan can show the order; `record_choice` records a choice.
To do both in one atomic step, hold the lock of the `TrafficState` that they read and write.
"""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from ..strategies import SelectionContext

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..caller import Caller
    from ..state.load import LatencyKind
    from ..state.traffic import TrafficState
    from .route import Candidate, Needs

_rank = attrgetter("rank")
_place = attrgetter("place")


def make_selection_context(needs: Needs, caller: Caller, traffic: TrafficState) -> SelectionContext:
    """Make the context of a call of ``caller``, by which a strategy orders endpoints."""
    return SelectionContext(needs.tokens, latency_kind(needs), caller.tier, caller.conversation_id, traffic)


def order_candidates(candidates: Iterable[Candidate], context: SelectionContext) -> list[Candidate]:
    """Sort ``candidates`` into the order in which they would be tried now: tier by tier, each by its strategy.

    If only unavailable candidates are left, tiers may be mixed, because any of them may be tried.
    """
    order: list[Candidate] = []
    for _, run in groupby(candidates, key=_rank):
        tier = sorted(run, key=_place)
        order += tier[0].select.order_endpoints(tier, context) if len(tier) > 1 else tier
    return order


def record_choice(candidate: Candidate, available: Sequence[Candidate], context: SelectionContext) -> None:
    """Tell the strategy which ``candidate`` was chosen among those ``available`` in its tier.

    Strategies that balance requests use the record for their next choices.
    """
    context.traffic.round_robin.record_choice(candidate.scope)
    candidate.select.record_choice(candidate, available, context)


def latency_kind(needs: Needs) -> LatencyKind:
    """The latency by which a call compares endpoints: to the first token of a stream, else to the whole answer."""
    return "first_token" if needs.streams else "total"
