"""By how much each has under way."""

from __future__ import annotations

from math import log2
from typing import TYPE_CHECKING, Literal

from typing_extensions import override

from .base import Strategy, sorted_by
from .least_used import level_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .base import Choosable, SelectionContext, Some


class LeastBusy(Strategy):
    """The one with the fewest requests under way."""

    by: Literal["least_busy"] = "least_busy"

    @override
    def order(self, tier: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        """Of those that have as many, the one that was used least. Whatever fails too often comes last."""
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

    @override
    def chosen(self, one: Choosable, among: Sequence[Choosable], context: SelectionContext) -> None:
        level_up(one, among, context)

    @override
    def named(self) -> tuple[()]:
        return ()
