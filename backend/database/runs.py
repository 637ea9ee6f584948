"""Stores runs of agents in the database, each answer and each result together with its entry in the audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Integer, and_, bindparam, delete, exists, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from backend.access import DataOwner
from backend.agents.budget import RunBudget
from backend.agents.confirmations import OPEN
from backend.agents.errors import StepConflictError
from backend.agents.runs import ENDED, QuestionAndAnswer, Run, RunOutcome
from backend.agents.steps import STEP, AnswerStep, ModelFailureStep, ToolResultStep
from backend.database.agent_tables import CONFIRMATIONS, IS_OPEN, RUNS, STEPS
from backend.database.audit import record_audit_event, record_audit_events
from backend.database.confirmations import datetime_from_microseconds
from backend.database.ledger_tables import first_id
from backend.ledger.audit import SYSTEM, AuditEvent
from backend.utils.llm.clock import Time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Row, Select
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.sql.dml import ReturningUpdate

    from backend.agents.steps import Step
    from backend.database.transactions import TransactionRunner
    from backend.ledger.audit import Kind

_ROW: Final = RUNS.c
_ASKED: Final = CONFIRMATIONS.c
_MINE: Final = tuple(_ROW[name] == bindparam(name) for name in ("user_id", "tenant_id"))
_IN: Final = (*_MINE, *(_ROW[name] == bindparam(name) for name in ("agent", "conversation")))
_NEWEST: Final = (_ROW.created_at.desc(), _ROW.id.desc())
_MOST: Final = bindparam("most", type_=Integer)
_AT: Final = bindparam("at", type_=BigInteger)
_BEGIN: Final = insert(RUNS)
_APPEND: Final = insert(STEPS)
_GET: Final = select(RUNS).where(_ROW.id == bindparam("id"), *_MINE)
_STEPS: Final = select(STEPS.c.step).where(STEPS.c.run == bindparam("run")).order_by(STEPS.c.number)
_MEMORY: Final = (
    select(_ROW.question, _ROW.answer).where(*_IN, _ROW.remembered).order_by(*_NEWEST).limit(_MOST)
)
_AWAITING: Final = select(RUNS).where(*_IN, _ROW.state == "awaiting").order_by(_ROW.created_at)
_RECENT: Final = select(RUNS).where(*_MINE, _ROW.parent.is_(None)).order_by(*_NEWEST).limit(_MOST)
_OF_CONVERSATION: Final = select(_ROW.id).where(*_IN)
_CHANGE: Final = update(RUNS).where(_ROW.id == bindparam("of")).returning(_ROW.id)
_IS_FREE: Final = or_(_ROW.leased_by == bindparam("holder"), _ROW.leased_until <= _AT)
_OUTCOME: Final[Mapping[str, Any]] = {name: bindparam(name) for name in RunOutcome._fields}
_LEASE: Final = _CHANGE.where(_ROW.state.not_in(sorted(ENDED)), _IS_FREE).values(
    state="running", leased_by=bindparam("holder"), leased_until=bindparam("until"), updated_at=_AT
)
_RELEASE: Final = _CHANGE.where(_ROW.leased_by == bindparam("holder")).values(
    **_OUTCOME, leased_by=None, leased_until=0, updated_at=_AT
)
_END: Final = _CHANGE.where(_ROW.state == "awaiting").values(**_OUTCOME, updated_at=_AT)
CHUNK: Final = 100
"""Runs deleted in one transaction with their steps, for which other writers wait."""


class SqlRunStore:
    """A `RunStore` in SQLite or PostgreSQL."""

    def __init__(self, transactions: TransactionRunner) -> None:
        self._transactions = transactions

    async def add_run(self, run: Run, first_step: Step) -> bool:
        """Store a new run with its first step, and with its lease if it has one; False if the id is already used."""

        def begin(connection: Connection) -> None:
            connection.execute(_BEGIN, _values(run))
            connection.execute(_APPEND, _step(run.id, 0, first_step, run.created_at))

        try:
            await self._transactions.run(begin)
        except IntegrityError:
            return False
        return True

    async def get(self, owner: DataOwner, run_id: str) -> Run | None:
        """Return the run with the given id; None if it does not exist, or belongs to another owner."""
        found = await self._runs(_GET, {"id": run_id, **_its(owner)})
        return found[0] if found else None

    async def list_steps(self, run_id: str) -> Sequence[Step]:
        """List all steps of the run, in order."""
        found = await self._rows(_STEPS, {"run": run_id})
        return [STEP.validate_json(row.step) for row in found]

    async def append_steps(self, run: Run, first_number: int, steps: Sequence[Step], now: int) -> None:
        """Store further steps of a run. The first gets the number ``first_number``; the others follow without gaps.

        Raises:
            StepConflictError: Another process has stored a step with one of these numbers. Nothing is stored.
        """
        values = [_step(run.id, place, step, now) for place, step in enumerate(steps, first_number)]
        events = [event for step in steps if (event := _audited(run, step, now)) is not None]

        def append(connection: Connection) -> None:
            connection.execute(_APPEND, values)
            record_audit_events(connection, events)

        try:
            await self._transactions.run(append)
        except IntegrityError as error:
            raise StepConflictError from error

    async def acquire_lease(self, run: Run, holder: str, until: int, now: int) -> bool:
        """Lease the run to ``holder`` until ``until``, or renew the holder's lease.

        Times are microseconds since 1970.

        Returns:
            False if the run has ended, or somebody else holds a lease that has not expired at ``now``.
        """
        return await self._change(_LEASE, {"of": run.id, "holder": holder, "until": until, "at": now})

    async def release_lease(self, run: Run, holder: str, outcome: RunOutcome, now: int) -> bool:
        """End the lease of ``holder``, and store the outcome; False if ``holder`` no longer has the lease."""
        return await self._change(_RELEASE, {"of": run.id, "holder": holder, "at": now, **outcome._asdict()})

    async def end_run_awaiting_decision(self, run: Run, outcome: RunOutcome, now: int) -> bool:
        """Store the outcome of a run that waits for a person's decision; False if the run no longer waits."""
        return await self._change(_END, {"of": run.id, "at": now, **outcome._asdict()})

    async def list_exchanges(
        self, owner: DataOwner, agent: str, conversation: str, limit: int
    ) -> Sequence[QuestionAndAnswer]:
        """List the last ``limit`` questions and answers to show to a later run, the oldest first."""
        found = await self._rows(_MEMORY, {**_in(owner, agent, conversation), "most": limit})
        return [QuestionAndAnswer(row.question, row.answer or "") for row in reversed(found)]

    async def list_runs_awaiting_decision(
        self, owner: DataOwner, agent: str, conversation: str
    ) -> Sequence[Run]:
        """List the runs of the conversation that wait for a person's decision."""
        return await self._runs(_AWAITING, _in(owner, agent, conversation))

    async def list_recent_runs(self, owner: DataOwner, limit: int) -> Sequence[Run]:
        """List the last ``limit`` runs of ``owner``, the newest first, without delegated runs."""
        return await self._runs(_RECENT, {**_its(owner), "most": limit})

    async def delete_conversation_runs(self, owner: DataOwner, agent: str, conversation: str) -> int:
        """Delete all runs of a conversation, and the runs that they delegated, with their steps.

        Returns:
            How many runs of the conversation were deleted.
        """

        def forget(connection: Connection) -> int:
            gone = set(connection.scalars(_OF_CONVERSATION, _in(owner, agent, conversation)))
            _remove(connection, gone)
            return len(gone)

        return await self._transactions.run(forget)

    async def delete_run(self, run: Run) -> None:
        """Delete a run with its steps, and the runs that it delegated."""
        await self._transactions.run(lambda connection: _remove(connection, {run.id}))

    async def _change(self, changed: ReturningUpdate[Any], values: Mapping[str, Any]) -> bool:
        def change(connection: Connection) -> bool:
            return connection.scalar(changed, values) is not None

        return await self._transactions.run(change)

    async def _runs(self, wanted: Select[Any], values: Mapping[str, Any]) -> list[Run]:
        return [_run(row._asdict()) for row in await self._rows(wanted, values)]

    async def _rows(self, wanted: Select[Any], values: Mapping[str, Any]) -> Sequence[Row[Any]]:
        def read(connection: Connection) -> Sequence[Row[Any]]:
            return connection.execute(wanted, values).all()

        return await self._transactions.run_read_only(read)


def _its(owner: DataOwner) -> dict[str, str]:
    return {"user_id": owner.user_id, "tenant_id": owner.tenant_id}


def _in(owner: DataOwner, agent: str, conversation: str) -> dict[str, str]:
    return {**_its(owner), "agent": agent, "conversation": conversation}


async def prune_runs(engine: AsyncEngine, before_us: int, actor: str) -> int:
    """Delete at most 100 agent runs (`CHUNK`) that were last continued before ``before_us``.

    The runs that they delegated are deleted with them. Runs that wait for a person, or have an
    open confirmation, are kept.

    Args:
        engine: The engine of the database.
        before_us: A time in microseconds since 1970 (UTC).
        actor: The user or operator who asked for the deletion; recorded in the audit trail.

    Returns:
        How many runs were deleted, without delegated runs. 0 if nothing is left to delete.
    """
    parts = or_(_ASKED.run == _ROW.id, _ASKED.run.startswith(_ROW.id + "."))
    is_open = exists().where(
        _ASKED.user_id == _ROW.user_id, _ASKED.tenant_id == _ROW.tenant_id, IS_OPEN, parts
    )
    is_over = and_(_ROW.state != "awaiting", _ROW.leased_until < before_us, _ROW.updated_at < before_us)
    began = _ROW.id < first_id(before_us)  # the index: ids tell when a run began
    old = select(_ROW.id).where(began, is_over, _ROW.parent.is_(None), ~is_open).order_by(_ROW.id)
    async with engine.begin() as connection:
        gone = set(await connection.scalars(old.limit(CHUNK)))
        if gone:
            await connection.run_sync(_remove, gone)
            facts = {"before": datetime_from_microseconds(before_us).date().isoformat(), "runs": len(gone)}
            await record_audit_event(
                connection, "agent.pruned", "runs", actor=actor, now=Time().now(), details=facts
            )
    return len(gone)


def _remove(connection: Connection, gone: set[str]) -> None:
    """Delete these runs, those that they delegated, and their decided confirmations. Open confirmations stay with the user."""
    while gone:
        delegated = set(connection.scalars(select(_ROW.id).where(_ROW.parent.in_(gone))))
        closed = and_(_ASKED.run.in_(gone), _ASKED.state.not_in(sorted(OPEN)))
        connection.execute(delete(CONFIRMATIONS).where(closed))
        connection.execute(delete(RUNS).where(_ROW.id.in_(gone)))
        gone = delegated


def _values(run: Run) -> dict[str, Any]:
    values = run._asdict()
    owner = values.pop("owner")
    budget = run.budget.model_dump_json()
    return {**values, "user_id": owner.user_id, "tenant_id": owner.tenant_id, "budget": budget}


def _run(row: dict[str, Any]) -> Run:
    owner = DataOwner(row.pop("user_id"), row.pop("tenant_id"))
    budget = RunBudget.model_validate_json(row.pop("budget"))
    return Run(owner=owner, budget=budget, **row)


def _step(run_id: str, number: int, step: Step, now: int) -> dict[str, Any]:
    text = STEP.dump_json(step).decode()
    return {"run": run_id, "number": number, "at": now, "step": text}


def _audited(run: Run, step: Step, now: int) -> AuditEvent | None:
    """The entry for the audit trail: who answered and what was called, but no content. A confirmation has entries of its own."""
    facts: dict[str, Any] = {"agent": run.agent, "owner": run.owner.user_id}
    kind: Kind
    match step:
        case AnswerStep():
            calls = [f"{call.name} {call.verdict}" for call in step.calls]
            kind, more = "agent.answered", {"call": step.call_id, "endpoint": step.endpoint, "tools": calls}
        case ModelFailureStep():
            kind, more = "agent.failed", {"call": step.call_id, "code": step.code}
        case ToolResultStep() if step.confirmation is None:
            kind, more = "agent.tool", {"call": step.call, "tool": step.name, "status": step.status}
        case _:
            return None
    return AuditEvent(now, SYSTEM, kind, run.id, facts | more)
