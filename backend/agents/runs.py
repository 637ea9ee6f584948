"""Runs as they are kept, and what a keeper of runs promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.access import Owner

    from .budget import RunBudget
    from .steps import Step

RunState = Literal["running", "awaiting", "done", "exhausted", "failed", "expired", "superseded"]
"""``running`` also while nobody goes on with it: then its lease is over, and people read ``interrupted``."""
ENDED: Final[frozenset[RunState]] = frozenset({"done", "exhausted", "expired", "superseded"})


class Run(NamedTuple):
    """A run. Times are microseconds since 1970 (UTC).

    Attributes:
        conversation: The thread that it belongs to, by a name that whoever asks gives it; None for a run by itself.
        parent: The run that delegated it, and ``parent_call`` the key of the call.
        reason: Why it ended.
        question: What the user said.
        answer: What they were answered.
        remembered: Whether later runs of its conversation are told of it.
        leased_by: The process that goes on with it, until ``leased_until``.
    """

    id: str
    agent: str
    owner: Owner
    question: str
    budget: RunBudget
    created_at: int
    conversation: str | None = None
    parent: str | None = None
    parent_call: str | None = None
    state: RunState = "running"
    reason: str | None = None
    answer: str | None = None
    remembered: bool = False
    updated_at: int = 0
    leased_by: str | None = None
    leased_until: int = 0

    def shown_state(self, now: int) -> str:
        """Its state for people."""
        return "interrupted" if self.state == "running" and self.leased_until <= now else self.state


class Exchange(NamedTuple):
    """What a later run of a conversation remembers of one before."""

    question: str
    answer: str


class Outcome(NamedTuple):
    """How a run stands when its process lets go of it."""

    state: RunState
    reason: str | None = None
    answer: str | None = None
    remembered: bool = False


class RunStore(Protocol):
    """Keeps runs and their steps, and an entry of the audit trail with each answer and each result.

    A run is found by its owner alone. Steps are numbered from 0 without gaps, and never changed.
    """

    async def begin(self, run: Run, opened: Step) -> bool:
        """Keep ``run``, with its lease if it has one, and its first step; False if there is a run of that id."""
        ...

    async def get(self, owner: Owner, run_id: str) -> Run | None:
        """The run, if there is one of that id and it is this owner's."""
        ...

    async def steps(self, run_id: str) -> Sequence[Step]:
        """All steps of the run, in order."""
        ...

    async def append(self, run: Run, number: int, steps: Sequence[Step], now: int) -> None:
        """Add steps, the first of them under that number; once this returns, all of them survive a crash.

        Raises:
            StepTakenError: If there is a step of one of their numbers. None is added then.
        """
        ...

    async def lease(self, run: Run, holder: str, until: int, now: int) -> bool:
        """Let ``holder`` go on with the run, if nobody else does now and it is not over. It is ``running`` then."""
        ...

    async def release(self, run: Run, holder: str, outcome: Outcome, now: int) -> bool:
        """End the lease of ``holder``, and note the outcome; False if the lease is another's."""
        ...

    async def end(self, run: Run, outcome: Outcome, now: int) -> bool:
        """Note the outcome of a run that waits for a person; False if it does not wait any more."""
        ...

    async def memory(self, owner: Owner, agent: str, conversation: str, limit: int) -> Sequence[Exchange]:
        """The last ``limit`` exchanges of the conversation that are remembered, the oldest first."""
        ...

    async def awaiting(self, owner: Owner, agent: str, conversation: str) -> Sequence[Run]:
        """Runs of the conversation that wait for a person."""
        ...

    async def recent(self, owner: Owner, limit: int) -> Sequence[Run]:
        """The last runs that nobody delegated, the newest first."""
        ...

    async def forget(self, owner: Owner, agent: str, conversation: str) -> int:
        """Remove the conversation: its runs and their steps, those delegated too. Returns how many runs there were."""
        ...

    async def remove(self, run: Run) -> None:
        """Remove a run with its steps, and those that it delegated."""
        ...
