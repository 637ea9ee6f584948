"""The budget of a run, over all its pauses, including the agents that it delegates to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from .steps import RunUsage

Limit = Literal["turns", "tool_calls", "tokens", "usd", "unpriced", "seconds"]


class RunBudget(BaseModel):
    """The limits of one run. Each limit stops only new work, so an answer in progress may exceed ``tokens``.

    Attributes:
        turns: The most model calls, failed ones included.
        tool_calls: The most tool calls that may be executed.
        tokens: The most input and output tokens of all attempts; None for no limit.
        pico_usd: The most cost, in pico-dollars (10⁻¹² dollars); None for no limit. With a limit, an answer of unknown
            price
            ends the run.
        seconds: The most seconds of work, not counting the wait for a person; None for no limit. Work in progress is
            stopped at this limit, too.
    """

    model_config = ConfigDict(frozen=True)

    turns: Annotated[int, Field(ge=1, le=100)] = 5
    tool_calls: Annotated[int, Field(ge=0, le=1000)] = 20
    tokens: Annotated[int, Field(ge=1)] | None = None
    pico_usd: Annotated[int, Field(ge=1)] | None = None
    seconds: Annotated[float, Field(gt=0)] | None = 300.0

    def reached(self, spent: RunUsage) -> Limit | None:
        """The name of the first limit that ``spent`` has reached, so that the run ends; None if no limit is reached."""
        if spent.turns >= self.turns:
            return "turns"
        if self.tokens is not None and spent.tokens >= self.tokens:
            return "tokens"
        if self.pico_usd is not None:
            if spent.unpriced:
                return "unpriced"
            if spent.pico_usd >= self.pico_usd:
                return "usd"
        return "seconds" if self.seconds_left(spent) <= 0 else None

    def calls_left(self, spent: RunUsage) -> int:
        """How many more tool calls the run may make after ``spent``; never negative."""
        return max(0, self.tool_calls - spent.tool_calls)

    def seconds_left(self, spent: RunUsage) -> float:
        """How many more seconds the run may work after ``spent``: infinity without a limit, negative if it was exceeded."""
        return float("inf") if self.seconds is None else self.seconds - spent.seconds

    def without(self, spent: RunUsage, most: RunBudget) -> RunBudget | None:
        """The budget for a delegated run: what is left of this budget after ``spent``, limited to ``most``.

        None if a limit is reached already.
        """
        if self.reached(spent) is not None:
            return None
        left = {
            "turns": self.turns - spent.turns,
            "tool_calls": self.calls_left(spent),
            "tokens": None if self.tokens is None else self.tokens - spent.tokens,
            "pico_usd": None if self.pico_usd is None else self.pico_usd - spent.pico_usd,
            "seconds": None if self.seconds is None else self.seconds_left(spent),
        }
        bounds = {name: _least(value, getattr(most, name)) for name, value in left.items()}
        return RunBudget.model_validate(bounds)


def _least(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)
