"""Who of the candidates comes first: each tier in the order of its strategy.

`ordered` peeks, so that a plan shows what would be chosen; `chosen` is told once the choice is made. Whoever does both
in one step holds the lock of the traffic that they read and write.
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
    """The context in which a strategy orders endpoints for a call of ``caller``."""
    return SelectionContext(needs.tokens, latency_kind(needs), caller.tier, caller.conversation_id, traffic)


def ordered(candidates: Iterable[Candidate], context: SelectionContext) -> list[Candidate]:
    """``candidates``, tier by tier, each in the order in which they would be tried now.

    Of a last resort the tiers may come mixed, as each may be asked.
    """
    order: list[Candidate] = []
    for _, run in groupby(candidates, key=_rank):
        tier = sorted(run, key=_place)
        order += tier[0].select.order(tier, context) if len(tier) > 1 else tier
    return order


def chosen(candidate: Candidate, among: Sequence[Candidate], context: SelectionContext) -> None:
    """``candidate`` is asked; it was chosen ``among`` those of its tier that could be."""
    context.traffic.round_robin.chosen(candidate.scope)
    candidate.select.chosen(candidate, among, context)


def latency_kind(needs: Needs) -> LatencyKind:
    """The latency by which endpoints are compared for a call: to the first token of a stream, else to the whole answer."""
    return "first_token" if needs.streams else "total"
