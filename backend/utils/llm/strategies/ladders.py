"""Ladder strategies: by the length of the prompt, and by the scores of the cheaper endpoints' answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from ..state.session_affinity import Rung
from .base import Stateless, Strategy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .base import Choosable, SelectionContext, Some


class ContextLadder(Strategy):
    """Chooses the first endpoint whose window holds prompt and answer; the table lists the smallest window first.

    Attributes:
        up_to: The longest prompt, in tokens, for which an endpoint is preferred; by default what its window holds.
        back_at: The part of a smaller endpoint's longest prompt, from 0 to 1, that a conversation must fit into to return there.
    """

    by: Literal["context"] = "context"
    up_to: dict[str, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)
    back_at: float = Field(default=0.8, gt=0, le=1)
    balanced: ClassVar[bool] = False

    @override
    def order(self, tier: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        """Sort upwards from the first rung that is long enough. Shorter rungs, which the prompt only just fits, come last."""
        names, affinity = [one.target[0] for one in tier], context.traffic.session_affinity
        last = affinity.last(tier[0].scope, context.conversation) if context.conversation else None
        stood = names.index(last.endpoint) if last is not None and last.endpoint in names else 0
        for place, one in enumerate(tier):
            share = 1.0 if place >= stood else self.back_at
            if context.tokens <= share * min(one.room, self.up_to.get(names[place], one.room)):
                return [*tier[place:], *tier[:place]]
        return tier[::-1]

    @override
    def chosen(self, one: Choosable, among: Sequence[Choosable], context: SelectionContext) -> None:
        if context.conversation:
            name = one.target[0]
            rung = Rung(name, min(one.room, self.up_to.get(name, one.room)))
            context.traffic.session_affinity.served(one.scope, context.conversation, rung, context.tokens)

    @override
    def named(self) -> Iterator[tuple[str, str]]:
        return (("up_to", name) for name in self.up_to)


class CostLadder(Stateless):
    """Chooses the first endpoint with good scores, and the next when an answer is rejected; cheapest first as written.

    Attributes:
        enough: The mean score from which an endpoint's answers are good enough. An accepted answer scores 1, a rejected
            answer 0, unless its test gives a score between 0 and 1.
        least: The fewest scores by which an endpoint is judged; an endpoint with fewer is tried.
        remember: Seconds after which a score is forgotten.
        explore: The share of calls, 0 to 1, that start at the cheapest endpoint regardless of scores.
    """

    by: Literal["cost"] = "cost"
    enough: float = Field(default=0.8, ge=0, le=1)
    least: int = Field(default=20, ge=1, le=100)
    remember: float = Field(default=3600.0, gt=0)
    explore: float = Field(default=0.05, gt=0, le=0.5)
    balanced: ClassVar[bool] = False

    @override
    def order(self, tier: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        """Sort upwards from the first rung with good scores or too few; without such a rung, reversed; for an ``explore`` share, as written."""
        scope, scores = tier[0].scope, context.traffic.quality_scores
        if context.traffic.round_robin.explores(scope, self.explore):
            return tier
        for place, one in enumerate(tier):
            quality = scores.quality(scope, one.target[0], least=self.least, remember=self.remember)
            if quality is None or quality >= self.enough:
                return [*tier[place:], *tier[:place]]
        return tier[::-1]
