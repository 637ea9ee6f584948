"""The agent loop as a pure function: from the steps of a run, it computes what to do next. It does no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from .steps import AnswerStep, Call, FailureStep, ResultStep, RunUsage, Step

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


class AskModel(NamedTuple):
    """A move: call the model, for at most ``seconds``."""

    seconds: float


class Execute(NamedTuple):
    """A move: create confirmations for the calls in ``gated``, and then execute ``calls``, which need no approval."""

    calls: tuple[Call, ...]
    gated: tuple[Call, ...]


class Delegate(NamedTuple):
    """A move: let another agent execute this call."""

    call: Call


class Wait(NamedTuple):
    """A move: wait for a person, because only the calls in ``gated`` are left, and each needs a decision."""

    gated: tuple[Call, ...]


class Finish(NamedTuple):
    """A move: end the run, for ``reason``."""

    reason: Reason


Move = AskModel | Execute | Delegate | Wait | Finish


@dataclass
class Progress:
    """The state of a run, computed from its steps: all answers, results and usage so far.

    It decides on the next move, and does no I/O.
    """

    budget: RunBudget
    steps: list[Step] = field(default_factory=list)
    results: dict[str, ResultStep] = field(default_factory=dict)
    """The result of each call, by the call's key."""
    answers: list[AnswerStep] = field(default_factory=list)
    spent: RunUsage = field(default_factory=RunUsage)

    @classmethod
    def of(cls, budget: RunBudget, steps: Sequence[Step]) -> Progress:
        """Compute the state of a run from all of its steps, in order."""
        progress = cls(budget)
        for step in steps:
            progress.add(step)
        return progress

    def add(self, step: Step) -> None:
        """Update the state with the run's next step."""
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
    def open_calls(self) -> list[Call]:
        """The calls of the last answer that still need a result: neither refused nor beyond the limit."""
        calls = self.answers[-1].calls if self.answers else ()
        return [
            call for call in calls if call.key not in self.results and call.verdict not in ("refuse", "over")
        ]

    @property
    def text(self) -> str:
        """The model's latest text that is not empty; empty if there is none."""
        return next((answer.text for answer in reversed(self.answers) if answer.text), "")

    def next_move(self) -> Move:
        """Decide what the run does next: call the model, execute, delegate, wait or finish."""
        if isinstance(self.steps[-1], FailureStep):
            return self._ask()
        last = self.answers[-1] if self.answers else None
        if last is None:
            return self._ask()
        if not last.calls:
            return Finish("answered")
        if self._repeats():
            return Finish("repeated")
        if all(call.verdict == "over" for call in last.calls):
            return Finish("tool_calls")
        return self._act(self.open_calls)

    def _act(self, calls: Sequence[Call]) -> Move:
        gated = tuple(call for call in calls if call.verdict == "ask")
        if now := tuple(call for call in calls if call.verdict in ("run", "record")):
            return Execute(now, gated)
        if (delegated := next((call for call in calls if call.verdict == "delegate"), None)) is not None:
            return Delegate(delegated)
        return Wait(gated) if gated else self._ask()

    def _ask(self) -> Move:
        limit: Limit | None = self.budget.reached(self.spent)
        return Finish(limit) if limit else AskModel(self.budget.seconds_left(self.spent))

    def _repeats(self) -> bool:
        """Whether the last answers all made the same calls. The last answer has no result yet."""
        last = self.answers[-REPEATS:]
        if len(last) < REPEATS or any(call.key in self.results for call in last[-1].calls):
            return False
        wanted = [
            sorted((call.name, call.arguments or call.fault) for call in answer.calls) for answer in last
        ]
        return wanted.count(wanted[0]) == REPEATS
