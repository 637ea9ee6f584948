"""The agent loop as a pure function: from the steps of a run, it computes what to do next. It does no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from .steps import AnswerStep, FailureStep, JudgedToolCall, ResultStep, RunUsage, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .budget import Limit, RunBudget

REPEATS: Final = 3
"""How many identical answers in a row end the run."""
Reason = Literal[
    "answered",
    "turns",
    "tool_calls",
    "tokens",
    "usd",
    "unpriced",
    "seconds",
    "repeated",
    "failed",
    "expired",
    "superseded",
]


class CallModel(NamedTuple):
    """Next action of a run: call the model, for at most ``seconds``."""

    seconds: float


class ExecuteCalls(NamedTuple):
    """Next action of a run: execute ``calls``, which need no approval.

    Before that, confirmations are created for the calls in ``gated``, which need approval.
    """

    calls: tuple[JudgedToolCall, ...]
    gated: tuple[JudgedToolCall, ...]


class DelegateCall(NamedTuple):
    """Next action of a run: let another agent handle ``call``."""

    call: JudgedToolCall


class WaitForDecisions(NamedTuple):
    """Next action of a run: wait for a person to decide on the calls in ``gated``. No other calls are left."""

    gated: tuple[JudgedToolCall, ...]


class FinishRun(NamedTuple):
    """Next action of a run: end, for ``reason``."""

    reason: Reason


Move = CallModel | ExecuteCalls | DelegateCall | WaitForDecisions | FinishRun


@dataclass
class RunProgress:
    """The state of a run, computed from its steps: all answers, tool results and usage so far.

    It decides what the run does next, without any I/O.
    """

    budget: RunBudget
    steps: list[Step] = field(default_factory=list)
    results: dict[str, ResultStep] = field(default_factory=dict)
    """The result of each call, by the call's key."""
    answers: list[AnswerStep] = field(default_factory=list)
    spent: RunUsage = field(default_factory=RunUsage)

    @classmethod
    def from_steps(cls, budget: RunBudget, steps: Sequence[Step]) -> RunProgress:
        """Compute the state of a run from all of its steps, which must be in order."""
        progress = cls(budget)
        for step in steps:
            progress.add_step(step)
        return progress

    def add_step(self, step: Step) -> None:
        """Update the state with the next step of the run."""
        self.steps.append(step)
        match step:
            case AnswerStep():
                self.answers.append(step)
                self.spent += step.spent
            case FailureStep():
                self.spent += step.spent
            case ResultStep():
                self.results[step.call] = step
                self.spent += step.spent
            case _:
                pass

    @property
    def calls_without_result(self) -> list[JudgedToolCall]:
        """The tool calls of the last answer that still need a result; not those refused or beyond the budget."""
        calls = self.answers[-1].calls if self.answers else ()
        return [
            call for call in calls if call.key not in self.results and call.verdict not in ("refuse", "over")
        ]

    @property
    def latest_text(self) -> str:
        """The last non-empty text of the model; an empty string if there is none."""
        return next((answer.text for answer in reversed(self.answers) if answer.text), "")

    def next_move(self) -> Move:
        """Decide what the run does next: call the model, execute tools, delegate, wait for decisions or finish."""
        if isinstance(self.steps[-1], FailureStep):
            return self._ask()
        last = self.answers[-1] if self.answers else None
        if last is None:
            return self._ask()
        if not last.calls:
            return FinishRun("answered")
        if self._repeats():
            return FinishRun("repeated")
        if all(call.verdict == "over" for call in last.calls):
            return FinishRun("tool_calls")
        return self._act(self.calls_without_result)

    def _act(self, calls: Sequence[JudgedToolCall]) -> Move:
        gated = tuple(call for call in calls if call.verdict == "ask")
        if now := tuple(call for call in calls if call.verdict in ("run", "record")):
            return ExecuteCalls(now, gated)
        if (delegated := next((call for call in calls if call.verdict == "delegate"), None)) is not None:
            return DelegateCall(delegated)
        return WaitForDecisions(gated) if gated else self._ask()

    def _ask(self) -> Move:
        limit: Limit | None = self.budget.first_reached_limit(self.spent)
        return FinishRun(limit) if limit else CallModel(self.budget.remaining_seconds(self.spent))

    def _repeats(self) -> bool:
        """Whether the last answers all made the same calls. The last answer has no result yet."""
        last = self.answers[-REPEATS:]
        if len(last) < REPEATS or any(call.key in self.results for call in last[-1].calls):
            return False
        wanted = [
            sorted((call.name, call.arguments or call.fault) for call in answer.calls) for answer in last
        ]
        return wanted.count(wanted[0]) == REPEATS
