"""By how much each was used lately."""

from __future__ import annotations

from math import inf, log2
from typing import TYPE_CHECKING, Literal

from typing_extensions import override

from .base import Strategy, sorted_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .base import Choosable, SelectionContext, Some


class LeastUsed(Strategy):
    """The one that had the fewest requests lately. An earlier minute counts half."""

    by: Literal["least_used"] = "least_used"

    @override
    def order(self, tier: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        return sorted_by(_uses(tier, context), tier)

    @override
    def chosen(self, one: Choosable, among: Sequence[Choosable], context: SelectionContext) -> None:
        level_up(one, among, context)

    @override
    def named(self) -> tuple[()]:
        return ()


def level_up(one: Choosable, among: Sequence[Choosable], context: SelectionContext) -> None:
    """Who could not be chosen for a while is not flooded to make up for it: it starts level with the others."""
    traffic = context.traffic
    new = traffic.round_robin.newcomers(one.scope, {other.target for other in among})
    if not new:
        return
    uses = zip(among, _uses(among, context), strict=True)
    level = min((used for other, used in uses if other.target not in new), default=-inf)
    for other in among:
        if other.target in new:
            traffic.targets.level_up(other.target, level + log2(other.share))


def _uses(tier: Sequence[Choosable], context: SelectionContext) -> list[float]:
    """How much each was used lately, for its share, as logarithms."""
    loads = context.traffic.targets.loads([one.target for one in tier])
    return [load.recent_requests - log2(one.share) for one, load in zip(tier, loads, strict=True)]
