"""Runs of agents as stored, and the Protocol of their store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.access import DataOwner

    from .budget import RunBudget
    from .steps import Step

RunState = Literal["running", "awaiting", "done", "exhausted", "failed", "expired", "superseded"]
"""The stored states. A ``running`` run whose lease has expired is shown to people as ``interrupted``."""
ENDED: Final[frozenset[RunState]] = frozenset({"done", "exhausted", "expired", "superseded"})


class Run(NamedTuple):
    """One run of an agent, from a user's message to the answer. Times are microseconds since 1970 (UTC).

    Attributes:
        question: The user's message.
        conversation: The client's id of the conversation; None for a run without memory.
        parent: The id of the run that delegated this one; None if it was not delegated.
        parent_call: The key of the tool call by which ``parent`` delegated; None if it was not delegated.
        reason: Why the run stopped, as a code; None while it has not.
        answer: The agent's answer; None while there is none.
        remembered: Whether later runs of the conversation see this question and answer.
        leased_by: A random name for the process that executes the run; None if no process does.
        leased_until: When the lease ends if it is not renewed. After that, another process may continue the
            run.
    """

    id: str
    agent: str
    owner: DataOwner
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

    def state_at(self, now: int) -> str:
        """Return the state at the time ``now``, in microseconds: ``interrupted`` if the executing process has died."""
        return "interrupted" if self.state == "running" and self.leased_until <= now else self.state


class QuestionAndAnswer(NamedTuple):
    """A question and its answer, which later runs of the conversation see as history."""

    question: str
    answer: str


class RunOutcome(NamedTuple):
    """The state, reason and answer that are stored for a run when a process stops executing it."""

    state: RunState
    reason: str | None = None
    answer: str | None = None
    remembered: bool = False


class RunStore(Protocol):
    """Stores runs and their steps, and writes an audit entry for each answer and tool result.

    A run is only returned to its owner. Steps are numbered from 0 without gaps, and never changed.
    """

    async def add_run(self, run: Run, first_step: Step) -> bool:
        """Store a new run and its first step. If the run has a lease, the lease is acquired.

        Returns:
            False if the id is already used; nothing is stored then.
        """
        ...

    async def get(self, owner: DataOwner, run_id: str) -> Run | None:
        """Return the run with this id; None if it does not exist or belongs to another user."""
        ...

    async def list_steps(self, run_id: str) -> Sequence[Step]:
        """Return all steps of a run, in order."""
        ...

    async def append_steps(self, run: Run, first_number: int, steps: Sequence[Step], now: int) -> None:
        """Store further steps of a run. They are durable when this returns.

        Args:
            run: The run.
            first_number: The number of the first step; the others follow without gaps.
            steps: The steps, in order.
            now: The time, in microseconds since 1970 (UTC).

        Raises:
            StepConflictError: Another process has stored a step with one of these numbers. None of the steps is
                stored.
        """
        ...

    async def acquire_lease(self, run: Run, holder: str, until: int, now: int) -> bool:
        """Acquire the lease of a run, or renew it for its holder, so that no other process executes the run.

        If this succeeds, the state of the run becomes ``running``.

        Args:
            run: The run.
            holder: A random name for the process that acquires the lease.
            until: When the lease ends, in microseconds since 1970 (UTC).
            now: The present time, in the same unit.

        Returns:
            False if the run has ended, or another holder has an unexpired lease.
        """
        ...

    async def release_lease(self, run: Run, holder: str, outcome: RunOutcome, now: int) -> bool:
        """Release the lease of ``holder``, and store the outcome.

        Returns:
            False if the lease has passed to another holder; the outcome is not stored then.
        """
        ...

    async def end_run_awaiting_decision(self, run: Run, outcome: RunOutcome, now: int) -> bool:
        """End a run that waits for a person, and store its outcome; False if the run no longer waits."""
        ...

    async def list_exchanges(
        self, owner: DataOwner, agent: str, conversation: str, limit: int
    ) -> Sequence[QuestionAndAnswer]:
        """Return the last ``limit`` remembered questions and answers of the conversation, the oldest first."""
        ...

    async def list_runs_awaiting_decision(
        self, owner: DataOwner, agent: str, conversation: str
    ) -> Sequence[Run]:
        """Return the runs of the conversation that wait for a person's decision."""
        ...

    async def list_recent_runs(self, owner: DataOwner, limit: int) -> Sequence[Run]:
        """Return the last ``limit`` runs of ``owner``, the newest first, without delegated runs."""
        ...

    async def delete_conversation_runs(self, owner: DataOwner, agent: str, conversation: str) -> int:
        """Delete all runs of a conversation, and the runs that they delegated, with their steps.

        Returns:
            How many runs of the conversation were deleted.
        """
        ...

    async def delete_run(self, run: Run) -> None:
        """Delete a run with its steps, and the runs that it delegated."""
        ...
