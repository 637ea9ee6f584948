"""Stores that keep everything in memory, for tests and for trying an agent. They have no audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .confirmations import OPEN
from .errors import StepConflictError
from .runs import ENDED, QuestionAndAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from backend.access import DataOwner

    from .confirmations import Confirmation, StateChange
    from .runs import Run, RunOutcome
    from .steps import Step


class InMemoryConfirmationStore:
    """A `ConfirmationStore` that keeps everything in memory, without an audit trail."""

    def __init__(self) -> None:
        self._kept: dict[str, Confirmation] = {}

    async def add(self, confirmation: Confirmation) -> bool:
        """Store a new confirmation. See `ConfirmationStore.add`."""
        place = (confirmation.run, confirmation.call, confirmation.number)
        if any((kept.run, kept.call, kept.number) == place for kept in self._kept.values()):
            return False
        self._kept[confirmation.id] = confirmation
        return True

    async def get(self, owner: DataOwner, confirmation_id: str) -> Confirmation | None:
        """Return the confirmation with this id. See `ConfirmationStore.get`."""
        one = self._kept.get(confirmation_id)
        return one if one is not None and one.owner == owner else None

    async def record_denied_access(self, owner: DataOwner, confirmation_id: str, now: int) -> None:
        """Do nothing, because there is no audit trail. See `ConfirmationStore.record_denied_access`."""

    async def apply_change(
        self, owner: DataOwner, confirmation_id: str, change: StateChange
    ) -> Confirmation | None:
        """Make ``change`` if all of its conditions hold. See `ConfirmationStore.apply_change`."""
        one = await self.get(owner, confirmation_id)
        if one is None or not _holds(one, change):
            return None
        self._kept[one.id] = changed = one._replace(state=change.target, **change.values)
        return changed

    async def list_for_run(self, run_id: str) -> Sequence[Confirmation]:
        """Return all confirmations of a run, the oldest first. See `ConfirmationStore.list_for_run`."""
        return [confirmation for confirmation in self._kept.values() if confirmation.run == run_id]

    async def list_open(self, owner: DataOwner, limit: int) -> Sequence[Confirmation]:
        """Return at most ``limit`` open confirmations of ``owner``. See `ConfirmationStore.list_open`."""
        found = [
            confirmation
            for confirmation in self._kept.values()
            if confirmation.state in OPEN and confirmation.owner == owner
        ]
        return sorted(found, key=lambda confirmation: confirmation.asked_at, reverse=True)[:limit]

    async def list_overdue(self, now: int, limit: int) -> Sequence[Confirmation]:
        """Return at most ``limit`` confirmations whose deadline has passed. See `ConfirmationStore.list_overdue`."""
        return [
            confirmation
            for confirmation in self._kept.values()
            if confirmation.state_at(now) != confirmation.state
        ][:limit]


def _holds(one: Confirmation, change: StateChange) -> bool:
    facts = one._asdict()
    return (
        one.state == change.source
        and all(facts[name] == value for name, value in change.equal.items())
        and (change.before is None or facts[change.before] > change.at)
        and (change.after is None or (facts[change.after] or 0) <= change.at)
    )


class InMemoryRunStore:
    """A `RunStore` that keeps everything in memory."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._steps: dict[str, list[Step]] = {}

    async def add_run(self, run: Run, first_step: Step) -> bool:
        """Store a new run and its first step. See `RunStore.add_run`."""
        if run.id in self._runs:
            return False
        self._runs[run.id], self._steps[run.id] = run, [first_step]
        return True

    async def get(self, owner: DataOwner, run_id: str) -> Run | None:
        """Return the run with this id. See `RunStore.get`."""
        run = self._runs.get(run_id)
        return run if run is not None and run.owner == owner else None

    async def list_steps(self, run_id: str) -> Sequence[Step]:
        """Return all steps of a run, in order. See `RunStore.list_steps`."""
        return list(self._steps.get(run_id, ()))

    async def append_steps(self, run: Run, first_number: int, steps: Sequence[Step], now: int) -> None:
        """Store further steps of the run, numbered from ``first_number``. See `RunStore.append_steps`."""
        kept = self._steps[run.id]
        if first_number != len(kept):
            raise StepConflictError
        kept += steps
        self._runs[run.id] = self._runs[run.id]._replace(updated_at=now)

    async def acquire_lease(self, run: Run, holder: str, until: int, now: int) -> bool:
        """Acquire or renew the lease of the run for ``holder``. See `RunStore.acquire_lease`."""
        kept = self._runs.get(run.id)
        if kept is None or kept.state in ENDED or (kept.leased_by != holder and kept.leased_until > now):
            return False
        self._runs[run.id] = kept._replace(
            state="running", leased_by=holder, leased_until=until, updated_at=now
        )
        return True

    async def release_lease(self, run: Run, holder: str, outcome: RunOutcome, now: int) -> bool:
        """Release the lease of ``holder``, and store the outcome. See `RunStore.release_lease`."""
        kept = self._runs.get(run.id)
        if kept is None or kept.leased_by != holder:
            return False
        self._runs[run.id] = kept._replace(
            **outcome._asdict(), leased_by=None, leased_until=0, updated_at=now
        )
        return True

    async def end_run_awaiting_decision(self, run: Run, outcome: RunOutcome, now: int) -> bool:
        """End a run that waits for a person. See `RunStore.end_run_awaiting_decision`."""
        kept = self._runs.get(run.id)
        if kept is None or kept.state != "awaiting":
            return False
        self._runs[run.id] = kept._replace(**outcome._asdict(), updated_at=now)
        return True

    async def list_exchanges(
        self, owner: DataOwner, agent: str, conversation: str, limit: int
    ) -> Sequence[QuestionAndAnswer]:
        """Return the last ``limit`` remembered questions and answers. See `RunStore.list_exchanges`."""
        found = [run for run in self._of(owner, agent, conversation) if run.remembered]
        return [QuestionAndAnswer(run.question, run.answer or "") for run in found[-limit:]]

    async def list_runs_awaiting_decision(
        self, owner: DataOwner, agent: str, conversation: str
    ) -> Sequence[Run]:
        """Return the runs of the conversation that wait for a person. See `RunStore.list_runs_awaiting_decision`."""
        return [run for run in self._of(owner, agent, conversation) if run.state == "awaiting"]

    async def list_recent_runs(self, owner: DataOwner, limit: int) -> Sequence[Run]:
        """Return the last ``limit`` runs of ``owner``, the newest first. See `RunStore.list_recent_runs`."""
        return self._where(lambda run: run.owner == owner and run.parent is None)[::-1][:limit]

    async def delete_conversation_runs(self, owner: DataOwner, agent: str, conversation: str) -> int:
        """Delete all runs of the conversation. See `RunStore.delete_conversation_runs`."""
        own = self._of(owner, agent, conversation)
        self._remove({run.id for run in own})
        return len(own)

    async def delete_run(self, run: Run) -> None:
        """Delete a run with its steps, and the runs that it delegated. See `RunStore.delete_run`."""
        self._remove({run.id} & set(self._runs))

    def _remove(self, gone: set[str]) -> None:
        for run in self._where(lambda run: run.parent is not None):  # in the order in which they began
            if run.parent in gone:
                gone.add(run.id)
        for run_id in gone:
            del self._runs[run_id], self._steps[run_id]

    def _of(self, owner: DataOwner, agent: str, conversation: str) -> list[Run]:
        place = (owner, agent, conversation)
        return self._where(lambda run: (run.owner, run.agent, run.conversation) == place)

    def _where(self, holds: Callable[[Run], bool]) -> list[Run]:
        kept: Iterable[Run] = self._runs.values()
        return sorted(filter(holds, kept), key=lambda run: (run.created_at, run.id))
