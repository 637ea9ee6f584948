"""The order of the candidates: each tier in the order of its strategy.

`ordered` changes no state, so that a plan can show the order; `chosen` records a choice. To do both in one atomic step,
hold the lock of the `Traffic` that they read and write.
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
    from ..state.traffic import Traffic
    from .route import Candidate, Needs

_rank = attrgetter("rank")
_place = attrgetter("place")


def selection_context(needs: Needs, caller: Caller, traffic: Traffic) -> SelectionContext:
    """Collect what a strategy may consider when it orders endpoints for a call of ``caller``."""
    return SelectionContext(needs.tokens, latency_kind(needs), caller.tier, caller.conversation_id, traffic)


def ordered(candidates: Iterable[Candidate], context: SelectionContext) -> list[Candidate]:
    """``candidates``, tier by tier, each in the order in which they would be tried now.

    If only resting candidates are left, tiers may be mixed, because any of them may be tried.
    """
    order: list[Candidate] = []
    for _, run in groupby(candidates, key=_rank):
        tier = sorted(run, key=_place)
        order += tier[0].select.order(tier, context) if len(tier) > 1 else tier
    return order


def chosen(candidate: Candidate, among: Sequence[Candidate], context: SelectionContext) -> None:
    """Tell the strategy that ``candidate`` was chosen ``among`` the available ones of its tier, so that it can balance the next."""
    context.traffic.round_robin.chosen(candidate.scope)
    candidate.select.chosen(candidate, among, context)


def latency_kind(needs: Needs) -> LatencyKind:
    """The latency by which a call compares endpoints: to the first token of a stream, else to the whole answer."""
    return "first_token" if needs.streams else "total"
