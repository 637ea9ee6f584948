"""Computes from the steps of a run what the agent loop does next, as a pure function without I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from .steps import AnswerStep, JudgedToolCall, ModelFailureStep, RunUsage, Step, ToolResultStep

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


class CallModelAction(NamedTuple):
    """Next action of a run: call the model, for at most ``seconds``."""

    seconds: float


class ExecuteCallsAction(NamedTuple):
    """Next action of a run: create confirmations for the calls in ``gated``, then execute ``calls``.

    The calls in ``gated`` need approval; those in ``calls`` do not.
    """

    calls: tuple[JudgedToolCall, ...]
    gated: tuple[JudgedToolCall, ...]


class DelegateCallAction(NamedTuple):
    """Next action of a run: let another agent handle ``call``."""

    call: JudgedToolCall


class WaitForDecisionsAction(NamedTuple):
    """Next action of a run: wait until a person has decided on the calls in ``gated``, as no other calls are left."""

    gated: tuple[JudgedToolCall, ...]


class FinishRunAction(NamedTuple):
    """Next action of a run: end, for ``reason``."""

    reason: Reason


NextAction = (
    CallModelAction | ExecuteCallsAction | DelegateCallAction | WaitForDecisionsAction | FinishRunAction
)


@dataclass
class RunProgress:
    """The state of a run, computed from its steps: all answers, tool results and usage so far.

    `next_action` computes what the run does next, without any I/O.
    """

    budget: RunBudget
    steps: list[Step] = field(default_factory=list)
    results: dict[str, ToolResultStep] = field(default_factory=dict)
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
            case ModelFailureStep():
                self.spent += step.spent
            case ToolResultStep():
                self.results[step.call] = step
                self.spent += step.spent
            case _:
                pass

    @property
    def calls_without_result(self) -> list[JudgedToolCall]:
        """The tool calls of the last answer that still need a result. Refused and over-budget calls need none."""
        calls = self.answers[-1].calls if self.answers else ()
        return [
            call for call in calls if call.key not in self.results and call.verdict not in ("refuse", "over")
        ]

    @property
    def latest_text(self) -> str:
        """The last non-empty text of the model; an empty string if there is none."""
        return next((answer.text for answer in reversed(self.answers) if answer.text), "")

    def next_action(self) -> NextAction:
        """Decide what the run does next: call the model, execute tools, delegate, wait for decisions or finish."""
        if isinstance(self.steps[-1], ModelFailureStep):
            return self._ask()
        last = self.answers[-1] if self.answers else None
        if last is None:
            return self._ask()
        if not last.calls:
            return FinishRunAction("answered")
        if self._repeats():
            return FinishRunAction("repeated")
        if all(call.verdict == "over" for call in last.calls):
            return FinishRunAction("tool_calls")
        return self._act(self.calls_without_result)

    def _act(self, calls: Sequence[JudgedToolCall]) -> NextAction:
        gated = tuple(call for call in calls if call.verdict == "ask")
        if now := tuple(call for call in calls if call.verdict in ("run", "record")):
            return ExecuteCallsAction(now, gated)
        if (delegated := next((call for call in calls if call.verdict == "delegate"), None)) is not None:
            return DelegateCallAction(delegated)
        return WaitForDecisionsAction(gated) if gated else self._ask()

    def _ask(self) -> NextAction:
        limit: Limit | None = self.budget.first_reached_limit(self.spent)
        return FinishRunAction(limit) if limit else CallModelAction(self.budget.remaining_seconds(self.spent))

    def _repeats(self) -> bool:
        """Whether the last answers all made the same calls. The last answer has no result yet."""
        last = self.answers[-REPEATS:]
        if len(last) < REPEATS or any(call.key in self.results for call in last[-1].calls):
            return False
        wanted = [
            sorted((call.name, call.arguments or call.fault) for call in answer.calls) for answer in last
        ]
        return wanted.count(wanted[0]) == REPEATS
