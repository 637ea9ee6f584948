"""Stores in memory, for tests and for trying an agent. They are lost with the process and have no audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .confirmations import OPEN
from .errors import StepTakenError
from .runs import ENDED, Exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from backend.access import Owner

    from .confirmations import Change, Confirmation
    from .runs import Outcome, Run
    from .steps import Step


class MemoryConfirmations:
    """A `ConfirmationStore` in memory."""

    def __init__(self) -> None:
        self._kept: dict[str, Confirmation] = {}

    async def add(self, one: Confirmation) -> bool:
        """Store a new confirmation. See `ConfirmationStore.add`."""
        place = (one.run, one.call, one.number)
        if any((kept.run, kept.call, kept.number) == place for kept in self._kept.values()):
            return False
        self._kept[one.id] = one
        return True

    async def get(self, owner: Owner, confirmation_id: str) -> Confirmation | None:
        """The confirmation with the given id. See `ConfirmationStore.get`."""
        one = self._kept.get(confirmation_id)
        return one if one is not None and one.owner == owner else None

    async def deny(self, owner: Owner, confirmation_id: str, now: int) -> None:
        """Do nothing: there is no audit trail."""

    async def change(self, owner: Owner, confirmation_id: str, change: Change) -> Confirmation | None:
        """Make ``change``, and return the changed confirmation. See `ConfirmationStore.change`."""
        one = await self.get(owner, confirmation_id)
        if one is None or not _holds(one, change):
            return None
        self._kept[one.id] = changed = one._replace(state=change.target, **change.values)
        return changed

    async def of_run(self, run_id: str) -> Sequence[Confirmation]:
        """All confirmations of a run, in the order in which they were created. See `ConfirmationStore.of_run`."""
        return [one for one in self._kept.values() if one.run == run_id]

    async def open(self, owner: Owner, limit: int) -> Sequence[Confirmation]:
        """At most ``limit`` open confirmations of ``owner``, the newest first. See `ConfirmationStore.open`."""
        found = [one for one in self._kept.values() if one.state in OPEN and one.owner == owner]
        return sorted(found, key=lambda one: one.asked_at, reverse=True)[:limit]

    async def due(self, now: int, limit: int) -> Sequence[Confirmation]:
        """At most ``limit`` confirmations of all owners that have expired, or whose execution lease has, at ``now``. See `ConfirmationStore.due`."""
        return [one for one in self._kept.values() if one.shown_state(now) != one.state][:limit]


def _holds(one: Confirmation, change: Change) -> bool:
    facts = one._asdict()
    return (
        one.state == change.source
        and all(facts[name] == value for name, value in change.equal.items())
        and (change.before is None or facts[change.before] > change.at)
        and (change.after is None or (facts[change.after] or 0) <= change.at)
    )


class MemoryRuns:
    """A `RunStore` in memory."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._steps: dict[str, list[Step]] = {}

    async def begin(self, run: Run, opened: Step) -> bool:
        """Store ``run``, with its lease if it has one, and its first step. See `RunStore.begin`."""
        if run.id in self._runs:
            return False
        self._runs[run.id], self._steps[run.id] = run, [opened]
        return True

    async def get(self, owner: Owner, run_id: str) -> Run | None:
        """The run with the given id; None if there is none, or if it is another owner's. See `RunStore.get`."""
        run = self._runs.get(run_id)
        return run if run is not None and run.owner == owner else None

    async def steps(self, run_id: str) -> Sequence[Step]:
        """All steps of the run, in order. See `RunStore.steps`."""
        return list(self._steps.get(run_id, ()))

    async def append(self, run: Run, number: int, steps: Sequence[Step], now: int) -> None:
        """Add steps, the first of them with that number. See `RunStore.append`."""
        kept = self._steps[run.id]
        if number != len(kept):
            raise StepTakenError
        kept += steps
        self._runs[run.id] = self._runs[run.id]._replace(updated_at=now)

    async def lease(self, run: Run, holder: str, until: int, now: int) -> bool:
        """Lease the run to ``holder``, unless it has ended or another lease holds at ``now``. See `RunStore.lease`."""
        kept = self._runs.get(run.id)
        if kept is None or kept.state in ENDED or (kept.leased_by != holder and kept.leased_until > now):
            return False
        self._runs[run.id] = kept._replace(
            state="running", leased_by=holder, leased_until=until, updated_at=now
        )
        return True

    async def release(self, run: Run, holder: str, outcome: Outcome, now: int) -> bool:
        """End the lease of ``holder`` and store the outcome. See `RunStore.release`."""
        kept = self._runs.get(run.id)
        if kept is None or kept.leased_by != holder:
            return False
        self._runs[run.id] = kept._replace(
            **outcome._asdict(), leased_by=None, leased_until=0, updated_at=now
        )
        return True

    async def end(self, run: Run, outcome: Outcome, now: int) -> bool:
        """Store the outcome of a run that waits for a person; False if it no longer waits. See `RunStore.end`."""
        kept = self._runs.get(run.id)
        if kept is None or kept.state != "awaiting":
            return False
        self._runs[run.id] = kept._replace(**outcome._asdict(), updated_at=now)
        return True

    async def memory(self, owner: Owner, agent: str, conversation: str, limit: int) -> Sequence[Exchange]:
        """The last ``limit`` remembered exchanges of the conversation, the oldest first. See `RunStore.memory`."""
        found = [run for run in self._of(owner, agent, conversation) if run.remembered]
        return [Exchange(run.question, run.answer or "") for run in found[-limit:]]

    async def awaiting(self, owner: Owner, agent: str, conversation: str) -> Sequence[Run]:
        """The runs of the conversation that wait for a person. See `RunStore.awaiting`."""
        return [run for run in self._of(owner, agent, conversation) if run.state == "awaiting"]

    async def recent(self, owner: Owner, limit: int) -> Sequence[Run]:
        """The last ``limit`` runs of ``owner`` that were not delegated, the newest first. See `RunStore.recent`."""
        return self._where(lambda run: run.owner == owner and run.parent is None)[::-1][:limit]

    async def forget(self, owner: Owner, agent: str, conversation: str) -> int:
        """Remove the conversation's runs, delegated ones included, with their steps. See `RunStore.forget`."""
        own = self._of(owner, agent, conversation)
        self._remove({run.id for run in own})
        return len(own)

    async def remove(self, run: Run) -> None:
        """Remove a run with its steps, and the runs that it delegated. See `RunStore.remove`."""
        self._remove({run.id} & set(self._runs))

    def _remove(self, gone: set[str]) -> None:
        for run in self._where(lambda run: run.parent is not None):  # in the order in which they began
            if run.parent in gone:
                gone.add(run.id)
        for run_id in gone:
            del self._runs[run_id], self._steps[run_id]

    def _of(self, owner: Owner, agent: str, conversation: str) -> list[Run]:
        place = (owner, agent, conversation)
        return self._where(lambda run: (run.owner, run.agent, run.conversation) == place)

    def _where(self, holds: Callable[[Run], bool]) -> list[Run]:
        kept: Iterable[Run] = self._runs.values()
        return sorted(filter(holds, kept), key=lambda run: (run.created_at, run.id))
