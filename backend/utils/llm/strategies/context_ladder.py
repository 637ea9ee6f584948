"""By the length of the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from .base import Strategy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .base import Choosable, SelectionContext, Some


class ContextLadder(Strategy):
    """The first whose window holds the prompt and the answer, smallest first as written.

    Attributes:
        up_to: The longest prompt, in tokens, for which an endpoint is preferred; by default as long as its window takes.
        back_at: A conversation that has climbed comes down again once it fits into this share of the room below.
    """

    by: Literal["context"] = "context"
    up_to: dict[str, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)
    back_at: float = Field(0.8, gt=0, le=1)
    balanced: ClassVar[bool] = False

    @override
    def order(self, tier: Sequence[Some], context: SelectionContext) -> Sequence[Some]:
        """From the first rung that is long enough upwards, then the shorter ones: those that the prompt fits, if only just."""
        names, affinity = [one.target[0] for one in tier], context.traffic.session_affinity
        last = affinity.last(tier[0].scope, context.conversation) if context.conversation else None
        stood = names.index(last) if last in names else 0
        for place, one in enumerate(tier):
            share = 1.0 if place >= stood else self.back_at
            if context.tokens <= share * min(one.room, self.up_to.get(names[place], one.room)):
                return [*tier[place:], *tier[:place]]
        return tier[::-1]

    @override
    def chosen(self, one: Choosable, among: Sequence[Choosable], context: SelectionContext) -> None:
        if context.conversation:
            context.traffic.session_affinity.served(one.scope, context.conversation, one.target[0])

    @override
    def named(self) -> Iterator[tuple[str, str]]:
        return (("up_to", name) for name in self.up_to)
