"""Stores runs of agents in the database, each answer and each result together with its entry in the audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Integer, and_, bindparam, delete, exists, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from backend.access import Owner
from backend.agents.budget import RunBudget
from backend.agents.confirmations import OPEN
from backend.agents.errors import StepTakenError
from backend.agents.runs import ENDED, Exchange, Outcome, Run
from backend.agents.steps import STEP, AnswerStep, FailureStep, ResultStep
from backend.database.agent_tables import CONFIRMATIONS, IS_OPEN, RUNS, STEPS
from backend.database.audit import record, record_all
from backend.database.confirmations import moment
from backend.database.ledger_tables import first_id
from backend.ledger.audit import SYSTEM, Event
from backend.utils.llm.clock import Time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Row, Select
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.sql.dml import ReturningUpdate

    from backend.agents.steps import Step
    from backend.database.transactions import Transactions
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
_OUTCOME: Final[Mapping[str, Any]] = {name: bindparam(name) for name in Outcome._fields}
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

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    async def begin(self, run: Run, opened: Step) -> bool:
        """Store ``run``, with its lease if it has one, and its first step. See `RunStore.begin`."""

        def begin(connection: Connection) -> None:
            connection.execute(_BEGIN, _values(run))
            connection.execute(_APPEND, _step(run.id, 0, opened, run.created_at))

        try:
            await self._transactions.run(begin)
        except IntegrityError:
            return False
        return True

    async def get(self, owner: Owner, run_id: str) -> Run | None:
        """The run with the given id; None if there is none, or if it is another owner's. See `RunStore.get`."""
        found = await self._runs(_GET, {"id": run_id, **_its(owner)})
        return found[0] if found else None

    async def steps(self, run_id: str) -> Sequence[Step]:
        """All steps of the run, in order. See `RunStore.steps`."""
        found = await self._rows(_STEPS, {"run": run_id})
        return [STEP.validate_json(row.step) for row in found]

    async def append(self, run: Run, number: int, steps: Sequence[Step], now: int) -> None:
        """Add steps, the first of them with that number. See `RunStore.append`."""
        values = [_step(run.id, place, step, now) for place, step in enumerate(steps, number)]
        events = [event for step in steps if (event := _audited(run, step, now)) is not None]

        def append(connection: Connection) -> None:
            connection.execute(_APPEND, values)
            record_all(connection, events)

        try:
            await self._transactions.run(append)
        except IntegrityError as error:
            raise StepTakenError from error

    async def lease(self, run: Run, holder: str, until: int, now: int) -> bool:
        """Lease the run to ``holder``, unless it has ended or another lease holds at ``now``. See `RunStore.lease`."""
        return await self._change(_LEASE, {"of": run.id, "holder": holder, "until": until, "at": now})

    async def release(self, run: Run, holder: str, outcome: Outcome, now: int) -> bool:
        """End the lease of ``holder`` and store the outcome. See `RunStore.release`."""
        return await self._change(_RELEASE, {"of": run.id, "holder": holder, "at": now, **outcome._asdict()})

    async def end(self, run: Run, outcome: Outcome, now: int) -> bool:
        """Store the outcome of a run that waits for a person; False if it no longer waits. See `RunStore.end`."""
        return await self._change(_END, {"of": run.id, "at": now, **outcome._asdict()})

    async def memory(self, owner: Owner, agent: str, conversation: str, limit: int) -> Sequence[Exchange]:
        """The last ``limit`` remembered exchanges of the conversation, the oldest first. See `RunStore.memory`."""
        found = await self._rows(_MEMORY, {**_in(owner, agent, conversation), "most": limit})
        return [Exchange(row.question, row.answer or "") for row in reversed(found)]

    async def awaiting(self, owner: Owner, agent: str, conversation: str) -> Sequence[Run]:
        """The runs of the conversation that wait for a person. See `RunStore.awaiting`."""
        return await self._runs(_AWAITING, _in(owner, agent, conversation))

    async def recent(self, owner: Owner, limit: int) -> Sequence[Run]:
        """The last ``limit`` runs of ``owner`` that were not delegated, the newest first. See `RunStore.recent`."""
        return await self._runs(_RECENT, {**_its(owner), "most": limit})

    async def forget(self, owner: Owner, agent: str, conversation: str) -> int:
        """Remove the conversation's runs, delegated ones included, with their steps. See `RunStore.forget`."""

        def forget(connection: Connection) -> int:
            gone = set(connection.scalars(_OF_CONVERSATION, _in(owner, agent, conversation)))
            _remove(connection, gone)
            return len(gone)

        return await self._transactions.run(forget)

    async def remove(self, run: Run) -> None:
        """Remove a run with its steps, and the runs that it delegated. See `RunStore.remove`."""
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

        return await self._transactions.read(read)


def _its(owner: Owner) -> dict[str, str]:
    return {"user_id": owner.user_id, "tenant_id": owner.tenant_id}


def _in(owner: Owner, agent: str, conversation: str) -> dict[str, str]:
    return {**_its(owner), "agent": agent, "conversation": conversation}


async def prune_runs(engine: AsyncEngine, before: int, by: str) -> int:
    """Delete at most `CHUNK` agent runs that were not continued since ``before``, with all that they delegated.

    Runs with a pending confirmation, or with a result that is unknown, are kept.

    Args:
        engine: The engine of the database.
        before: A time in microseconds since 1970 (UTC).
        by: Who asks for the deletion, for the audit trail.

    Returns:
        How many runs were deleted, not counting delegated ones.
    """
    parts = or_(_ASKED.run == _ROW.id, _ASKED.run.startswith(_ROW.id + "."))
    is_open = exists().where(
        _ASKED.user_id == _ROW.user_id, _ASKED.tenant_id == _ROW.tenant_id, IS_OPEN, parts
    )
    is_over = and_(_ROW.state != "awaiting", _ROW.leased_until < before, _ROW.updated_at < before)
    began = _ROW.id < first_id(before)  # the index: ids tell when a run began
    old = select(_ROW.id).where(began, is_over, _ROW.parent.is_(None), ~is_open).order_by(_ROW.id)
    async with engine.begin() as connection:
        gone = set(await connection.scalars(old.limit(CHUNK)))
        if gone:
            await connection.run_sync(_remove, gone)
            facts = {"before": moment(before).date().isoformat(), "runs": len(gone)}
            await record(connection, "agent.pruned", "runs", actor=by, now=Time().now(), details=facts)
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
    owner = Owner(row.pop("user_id"), row.pop("tenant_id"))
    budget = RunBudget.model_validate_json(row.pop("budget"))
    return Run(owner=owner, budget=budget, **row)


def _step(run_id: str, number: int, step: Step, now: int) -> dict[str, Any]:
    text = STEP.dump_json(step).decode()
    return {"run": run_id, "number": number, "at": now, "step": text}


def _audited(run: Run, step: Step, now: int) -> Event | None:
    """The entry for the audit trail: who answered and what was called, but no content. A confirmation has entries of its own."""
    facts: dict[str, Any] = {"agent": run.agent, "owner": run.owner.user_id}
    kind: Kind
    match step:
        case AnswerStep():
            calls = [f"{call.name} {call.verdict}" for call in step.calls]
            kind, more = "agent.answered", {"call": step.call_id, "endpoint": step.endpoint, "tools": calls}
        case FailureStep():
            kind, more = "agent.failed", {"call": step.call_id, "code": step.code}
        case ResultStep() if step.confirmation is None:
            kind, more = "agent.tool", {"call": step.call, "tool": step.name, "status": step.status}
        case _:
            return None
    return Event(now, SYSTEM, kind, run.id, facts | more)
