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
    """One run of an agent, from a user's message to the answer. Times are microseconds since 1970 (UTC).

    Attributes:
        question: The user's message.
        conversation: The client's id of the conversation; None for a run without memory.
        parent: The id of the run that delegated this run; None if none did.
        parent_call: The key of the call by which ``parent`` delegated.
        reason: Why the run stopped, as a code; None before.
        answer: The agent's answer; None before.
        remembered: Whether later runs of the same conversation are shown this question and answer.
        leased_by: The holder of the lease on the run: only the holder may continue it. None without a lease.
        leased_until: When the lease ends, unless its holder renews it.
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
        """The state at ``now`` as people are shown it: ``interrupted`` if the process that continued the run has died."""
        return "interrupted" if self.state == "running" and self.leased_until <= now else self.state


class Exchange(NamedTuple):
    """A question and its answer, which a later run of the same conversation is shown as history."""

    question: str
    answer: str


class Outcome(NamedTuple):
    """What to store about a run when its process stops working on it: its state, the reason, and the answer."""

    state: RunState
    reason: str | None = None
    answer: str | None = None
    remembered: bool = False


class RunStore(Protocol):
    """Stores runs and their steps, with an audit entry for each answer and each result.

    Only its owner can read a run. Steps are numbered from 0 without gaps, and never changed.
    """

    async def begin(self, run: Run, opened: Step) -> bool:
        """Store a new run, with its lease if it has one, and its first step; False if the id is already used."""
        ...

    async def get(self, owner: Owner, run_id: str) -> Run | None:
        """The run with the given id; None if there is none, or if it is another owner's."""
        ...

    async def steps(self, run_id: str) -> Sequence[Step]:
        """All steps of the run, in order."""
        ...

    async def append(self, run: Run, number: int, steps: Sequence[Step], now: int) -> None:
        """Store ``steps`` of the run. Once this returns, all of them survive a crash.

        Args:
            run: The run.
            number: The number of the first of ``steps``; the others follow without gaps.
            steps: The steps, in order.
            now: The time, in microseconds since 1970 (UTC).

        Raises:
            StepTakenError: Another process has stored a step with one of these numbers. No step is added then.
        """
        ...

    async def lease(self, run: Run, holder: str, until: int, now: int) -> bool:
        """Try to reserve the run for one holder, so that nobody else continues it, or renew the holder's own lease.

        The state becomes ``running``.

        Args:
            run: The run.
            holder: A random name of the lease's holder.
            until: When the lease ends, in microseconds since 1970 (UTC).
            now: The present time, in the same unit.

        Returns:
            False if the run has ended, or somebody else holds an unexpired lease.
        """
        ...

    async def release(self, run: Run, holder: str, outcome: Outcome, now: int) -> bool:
        """End the lease of ``holder``, and store the outcome; False if somebody else has leased the run meanwhile."""
        ...

    async def end(self, run: Run, outcome: Outcome, now: int) -> bool:
        """Store the outcome of a run that waits for a person; False if it no longer waits."""
        ...

    async def memory(self, owner: Owner, agent: str, conversation: str, limit: int) -> Sequence[Exchange]:
        """The last ``limit`` questions and answers of the conversation that later runs are shown, the oldest first."""
        ...

    async def awaiting(self, owner: Owner, agent: str, conversation: str) -> Sequence[Run]:
        """The runs of the conversation that wait for a person's decision."""
        ...

    async def recent(self, owner: Owner, limit: int) -> Sequence[Run]:
        """At most ``limit`` runs of ``owner`` that no other run delegated, the newest first."""
        ...

    async def forget(self, owner: Owner, agent: str, conversation: str) -> int:
        """Delete all runs of a conversation, delegated ones included, with their steps.

        Returns:
            How many runs were deleted.
        """
        ...

    async def remove(self, run: Run) -> None:
        """Delete a run with its steps, and the runs that it delegated."""
        ...
