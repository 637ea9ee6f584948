"""Ladder strategies: by the length of the prompt, and by the scores of the cheaper endpoints' answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from ..state.session_affinity import ContextLadderRung
from .base import SelectionStrategy, StatelessStrategy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .base import SelectableEndpoint, SelectionContext, Some


class ContextLadderStrategy(SelectionStrategy):
    """Chooses the first endpoint whose context window holds prompt and answer.

    The table lists the endpoint with the smallest window first.

    Attributes:
        up_to: By endpoint, the longest prompt in tokens for which it is preferred. An endpoint that is not
            listed is preferred for all prompts that its window holds.
        back_at: A conversation returns to a smaller endpoint only if its prompt is at most this part, from 0
            to 1, of that endpoint's longest prompt.
    """

    by: Literal["context"] = "context"
    up_to: dict[str, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)
    back_at: float = Field(default=0.8, gt=0, le=1)
    balanced: ClassVar[bool] = False

    @override
    def order_endpoints(self, candidates: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        """Sort from the first endpoint that is large enough for the prompt upwards; smaller endpoints come last.

        If no endpoint is large enough, the largest comes first.
        """
        names, affinity = (
            [candidate.traffic_key[0] for candidate in candidates],
            context.traffic.session_affinity,
        )
        last = (
            affinity.find_last_rung(candidates[0].scope, context.conversation)
            if context.conversation
            else None
        )
        stood = names.index(last.endpoint) if last is not None and last.endpoint in names else 0
        for place, candidate in enumerate(candidates):
            share = 1.0 if place >= stood else self.back_at
            if context.tokens <= share * min(
                candidate.max_prompt_tokens, self.up_to.get(names[place], candidate.max_prompt_tokens)
            ):
                return [*candidates[place:], *candidates[:place]]
        return candidates[::-1]

    @override
    def record_choice(
        self, selected: SelectableEndpoint, available: Sequence[SelectableEndpoint], context: SelectionContext
    ) -> None:
        if context.conversation:
            name = selected.traffic_key[0]
            rung = ContextLadderRung(
                name, min(selected.max_prompt_tokens, self.up_to.get(name, selected.max_prompt_tokens))
            )
            context.traffic.session_affinity.record_rung(
                selected.scope, context.conversation, rung, context.tokens
            )

    @override
    def endpoints_in_settings(self) -> Iterator[tuple[str, str]]:
        return (("up_to", name) for name in self.up_to)


class CostLadderStrategy(StatelessStrategy):
    """Chooses the first endpoint whose recent answers are good enough.

    The table lists the cheapest endpoint first. If an answer is rejected, the call goes on to the next
    endpoint.

    Attributes:
        enough: The mean score from which an endpoint's answers are good enough. An accepted answer scores 1,
            a rejected answer 0, unless the test of the answer gives a score between 0 and 1.
        least: The number of scores from which an endpoint is judged; an endpoint with fewer scores is tried.
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
    def order_endpoints(self, candidates: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        """Put the first endpoint first whose scores are good enough, or too few to judge.

        More expensive endpoints follow, and cheaper endpoints come last. If all scores are bad, the most
        expensive endpoint comes first. An ``explore`` share of calls keeps the table's order.
        """
        scope, scores = candidates[0].scope, context.traffic.quality_scores
        if context.traffic.round_robin.should_explore(scope, self.explore):
            return candidates
        for place, candidate in enumerate(candidates):
            quality = scores.best_recent_mean(
                scope, candidate.traffic_key[0], min_count=self.least, max_age_seconds=self.remember
            )
            if quality is None or quality >= self.enough:
                return [*candidates[place:], *candidates[:place]]
        return candidates[::-1]
