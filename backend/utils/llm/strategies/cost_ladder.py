"""By how good the answers of the cheaper ones were."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from .base import Strategy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .base import Choosable, SelectionContext, Some


class CostLadder(Strategy):
    """The first, cheapest as written, whose answers have been good enough; one rung up when an answer is not.

    Attributes:
        enough: The mean score from which an endpoint's answers are good enough. An accepted answer scores 1, one that
            is rejected 0, unless whoever judges says a figure between.
        least: With fewer scores than this an endpoint is unknown, and is tried.
        remember: Seconds after which a score is forgotten.
        explore: Which share of the calls starts at the bottom all the same.
    """

    by: Literal["cost"] = "cost"
    enough: float = Field(0.8, ge=0, le=1)
    least: int = Field(20, ge=1, le=100)
    remember: float = Field(3600.0, gt=0)
    explore: float = Field(0.05, gt=0, le=0.5)
    balanced: ClassVar[bool] = False

    @override
    def order(self, tier: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        """From the first rung whose answers are good enough, or unknown, upwards; then what lies below."""
        scope, scores = tier[0].scope, context.traffic.quality_scores
        if context.traffic.round_robin.explores(scope, self.explore):
            return tier
        for place, one in enumerate(tier):
            mean = scores.mean(scope, one.target[0], least=self.least, remember=self.remember)
            if mean is None or mean >= self.enough:
                return [*tier[place:], *tier[:place]]
        return tier[::-1]

    @override
    def chosen(self, one: Choosable, among: Sequence[Choosable], context: SelectionContext) -> None:
        pass

    @override
    def named(self) -> tuple[()]:
        return ()
