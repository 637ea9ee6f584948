"""Runs of agents as stored, and the Protocol of their store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.access import Owner

    from .budget import RunBudget
    from .steps import Step

RunState = Literal["running", "awaiting", "done", "exhausted", "failed", "expired", "superseded"]
"""The stored states. A ``running`` run whose lease has expired is shown to people as ``interrupted``."""
ENDED: Final[frozenset[RunState]] = frozenset({"done", "exhausted", "expired", "superseded"})


class Run(NamedTuple):
    """A run of an agent. Times are microseconds since 1970 (UTC).

    Attributes:
        conversation: The client's id of the conversation; None for a run without one.
        parent: The id of the run that delegated this run; ``parent_call`` is the key of the delegating call.
        reason: Why the run ended.
        question: The user's message.
        answer: The agent's answer.
        remembered: Whether later runs of its conversation get this run's exchange.
        leased_by: The process that holds the run's lease, until ``leased_until``.
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
        """The state at ``now``, for people."""
        return "interrupted" if self.state == "running" and self.leased_until <= now else self.state


class Exchange(NamedTuple):
    """A question and its answer, as a later run of the conversation remembers them."""

    question: str
    answer: str


class Outcome(NamedTuple):
    """The state, reason and usage of a run when its process releases it."""

    state: RunState
    reason: str | None = None
    answer: str | None = None
    remembered: bool = False


class RunStore(Protocol):
    """Stores runs and their steps, with an audit entry for each answer and each result.

    Only its owner can read a run. Steps are numbered from 0 without gaps, and never changed.
    """

    async def begin(self, run: Run, opened: Step) -> bool:
        """Store ``run``, with its lease if it has one, and its first step; False if that id is taken."""
        ...

    async def get(self, owner: Owner, run_id: str) -> Run | None:
        """The run of that id; None if there is none, or if it is another owner's."""
        ...

    async def steps(self, run_id: str) -> Sequence[Step]:
        """All steps of the run, in order."""
        ...

    async def append(self, run: Run, number: int, steps: Sequence[Step], now: int) -> None:
        """Add steps, the first of them with that number. Once this returns, all of them survive a crash.

        Raises:
            StepTakenError: One of their numbers is taken. No step is added then.
        """
        ...

    async def lease(self, run: Run, holder: str, until: int, now: int) -> bool:
        """Lease the run to ``holder``, unless it has ended or another lease holds at ``now``. The state becomes ``running``."""
        ...

    async def release(self, run: Run, holder: str, outcome: Outcome, now: int) -> bool:
        """End the lease of ``holder`` and store the outcome; False if the lease is another's."""
        ...

    async def end(self, run: Run, outcome: Outcome, now: int) -> bool:
        """Store the outcome of a run that waits for a person; False if it no longer waits."""
        ...

    async def memory(self, owner: Owner, agent: str, conversation: str, limit: int) -> Sequence[Exchange]:
        """The last ``limit`` remembered exchanges of the conversation, the oldest first."""
        ...

    async def awaiting(self, owner: Owner, agent: str, conversation: str) -> Sequence[Run]:
        """The runs of the conversation that wait for a person."""
        ...

    async def recent(self, owner: Owner, limit: int) -> Sequence[Run]:
        """The last ``limit`` runs of ``owner`` that were not delegated, the newest first."""
        ...

    async def forget(self, owner: Owner, agent: str, conversation: str) -> int:
        """Remove the conversation's runs, delegated ones included, with their steps. Returns how many runs were removed."""
        ...

    async def remove(self, run: Run) -> None:
        """Remove a run with its steps, and the runs that it delegated."""
        ...
