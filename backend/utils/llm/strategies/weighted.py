"""In turn, by weights."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from typing_extensions import override

from .base import Strategy, sorted_by

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..state.load import Target
    from .base import Choosable, SelectionContext, Some


class Weighted(Strategy):
    """In turn, as often as the weights say. An endpoint without a weight has 1."""

    by: Literal["weighted"] = "weighted"
    weights: dict[str, Annotated[int, Field(gt=0, le=1000)]] = Field(default_factory=dict)

    @override
    def order(self, tier: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        saved_up = context.traffic.round_robin.current_weight(tier[0].scope)
        weights = self._weights(tier)
        return sorted_by([-saved_up.get(one.target, 0.0) - weights[one.target] for one in tier], tier)

    @override
    def chosen(self, one: Choosable, among: Sequence[Choosable], context: SelectionContext) -> None:
        context.traffic.round_robin.weigh(one.scope, one.target, self._weights(among))

    @override
    def named(self) -> Iterator[tuple[str, str]]:
        return (("weights", name) for name in self.weights)

    def _weights(self, tier: Sequence[Choosable]) -> dict[Target, float]:
        """An endpoint's weight is shared by its accounts, as theirs say."""
        totals: Counter[str] = Counter()
        for one in tier:
            totals[one.target[0]] += one.share
        return {
            one.target: self.weights.get(one.target[0], 1) * one.share / totals[one.target[0]] for one in tier
        }
