"""The limits of a run, which include the agents that it delegates to and are not reset when the run is continued."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from .steps import RunUsage

Limit = Literal["turns", "tool_calls", "tokens", "usd", "unpriced", "seconds"]


class RunBudget(BaseModel):
    """The limits of one run.

    A limit only prevents further calls, so a running model call may still exceed ``tokens``.

    Attributes:
        turns: The maximum number of model calls, failed calls included.
        tool_calls: The maximum number of executed tool calls.
        tokens: The maximum number of input and output tokens, of all attempts together; None for no limit.
        pico_usd: The maximum cost in pico-dollars (10⁻¹² dollars); None for no limit. With a limit, the run
            also ends after an answer whose price is unknown.
        seconds: The maximum working time, in which waiting for a person does not count; None for no limit. A
            model call that is still running at the end of this time is stopped.
    """

    model_config = ConfigDict(frozen=True)

    turns: Annotated[int, Field(ge=1, le=100)] = 5
    tool_calls: Annotated[int, Field(ge=0, le=1000)] = 20
    tokens: Annotated[int, Field(ge=1)] | None = None
    pico_usd: Annotated[int, Field(ge=1)] | None = None
    seconds: Annotated[float, Field(gt=0)] | None = 300.0

    def first_reached_limit(self, spent: RunUsage) -> Limit | None:
        """Return the name of the first limit that ``spent`` has reached; None if no limit is reached."""
        if spent.turns >= self.turns:
            return "turns"
        if self.tokens is not None and spent.total_tokens >= self.tokens:
            return "tokens"
        if self.pico_usd is not None:
            if spent.unpriced:
                return "unpriced"
            if spent.pico_usd >= self.pico_usd:
                return "usd"
        return "seconds" if self.remaining_seconds(spent) <= 0 else None

    def remaining_tool_calls(self, spent: RunUsage) -> int:
        """Return how many more tool calls are allowed after ``spent``; never negative."""
        return max(0, self.tool_calls - spent.tool_calls)

    def remaining_seconds(self, spent: RunUsage) -> float:
        """Return how many more seconds the run may work after ``spent``.

        Infinity if time is not limited; negative if the limit is exceeded.
        """
        return float("inf") if self.seconds is None else self.seconds - spent.seconds

    def make_delegated_budget(self, spent: RunUsage, upper_limits: RunBudget) -> RunBudget | None:
        """Make the budget of a delegated run: what is left of this budget after ``spent``, but at most ``upper_limits``.

        Returns:
            The budget; None if a limit of this budget is already reached.
        """
        if self.first_reached_limit(spent) is not None:
            return None
        left = {
            "turns": self.turns - spent.turns,
            "tool_calls": self.remaining_tool_calls(spent),
            "tokens": None if self.tokens is None else self.tokens - spent.total_tokens,
            "pico_usd": None if self.pico_usd is None else self.pico_usd - spent.pico_usd,
            "seconds": None if self.seconds is None else self.remaining_seconds(spent),
        }
        bounds = {name: _least(value, getattr(upper_limits, name)) for name, value in left.items()}
        return RunBudget.model_validate(bounds)


def _least(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)
