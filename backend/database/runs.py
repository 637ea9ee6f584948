"""Runs of agents in the database: each answer and each result with its entry in the audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, delete, exists, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from backend.access import Owner
from backend.agents.budget import RunBudget
from backend.agents.confirmations import OPEN
from backend.agents.errors import StepTakenError
from backend.agents.runs import ENDED, Exchange, Run
from backend.agents.steps import STEP, Answered, Failed, Observed
from backend.database.agent_tables import CONFIRMATIONS, IS_OPEN, RUNS, STEPS
from backend.database.audit import record
from backend.database.confirmations import moment
from backend.database.ledger_tables import first_id
from backend.ledger.audit import SYSTEM
from backend.utils.llm.clock import Time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker

    from backend.agents.runs import Outcome
    from backend.agents.steps import Step
    from backend.ledger.audit import Kind

_ROW: Final = RUNS.c
_ASKED: Final = CONFIRMATIONS.c
CHUNK: Final = 100
"""Runs that are deleted in one transaction: their steps go with them, and others who write wait."""


class SqlRunStore:
    """A `RunStore`."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def begin(self, run: Run, opened: Step) -> bool:
        """See `RunStore.begin`."""
        try:
            async with self._sessions.begin() as session:
                await session.execute(insert(RUNS).values(_values(run)))
                await session.execute(insert(STEPS).values(_step(run.id, 0, opened, run.created_at)))
        except IntegrityError:
            return False
        return True

    async def get(self, owner: Owner, run_id: str) -> Run | None:
        """See `RunStore.get`."""
        found = await self._runs(select(RUNS).where(_ROW.id == run_id, *_of(owner)))
        return found[0] if found else None

    async def steps(self, run_id: str) -> Sequence[Step]:
        """See `RunStore.steps`."""
        wanted = select(STEPS.c.step).where(STEPS.c.run == run_id).order_by(STEPS.c.number)
        async with self._sessions() as session:
            return [STEP.validate_json(text) for text in await session.scalars(wanted)]

    async def append(self, run: Run, number: int, step: Step, now: int) -> None:
        """See `RunStore.append`."""
        try:
            async with self._sessions.begin() as session:
                await session.execute(insert(STEPS).values(_step(run.id, number, step, now)))
                if (told := _audited(run, step)) is not None:
                    kind, facts = told
                    await record(session, kind, run.id, actor=SYSTEM, now=moment(now), details=facts)
        except IntegrityError as error:
            raise StepTakenError from error

    async def lease(self, run: Run, holder: str, until: int, now: int) -> bool:
        """See `RunStore.lease`."""
        is_free = or_(_ROW.leased_by == holder, _ROW.leased_until <= now)
        return await self._change(
            and_(_ROW.id == run.id, _ROW.state.not_in(sorted(ENDED)), is_free),
            {"state": "running", "leased_by": holder, "leased_until": until, "updated_at": now},
        )

    async def release(self, run: Run, holder: str, outcome: Outcome, now: int) -> bool:
        """See `RunStore.release`."""
        values = {**outcome._asdict(), "leased_by": None, "leased_until": 0, "updated_at": now}
        return await self._change(and_(_ROW.id == run.id, _ROW.leased_by == holder), values)

    async def end(self, run: Run, outcome: Outcome, now: int) -> bool:
        """See `RunStore.end`."""
        waits = and_(_ROW.id == run.id, _ROW.state == "awaiting")
        return await self._change(waits, {**outcome._asdict(), "updated_at": now})

    async def memory(self, owner: Owner, agent: str, conversation: str, limit: int) -> Sequence[Exchange]:
        """See `RunStore.memory`."""
        newest = _ROW.created_at.desc(), _ROW.id.desc()
        mine = (*_in(owner, agent, conversation), _ROW.remembered)
        wanted = select(_ROW.question, _ROW.answer).where(*mine).order_by(*newest).limit(limit)
        async with self._sessions() as session:
            found = [Exchange(row.question, row.answer or "") for row in await session.execute(wanted)]
        return found[::-1]

    async def awaiting(self, owner: Owner, agent: str, conversation: str) -> Sequence[Run]:
        """See `RunStore.awaiting`."""
        wanted = select(RUNS).where(*_in(owner, agent, conversation), _ROW.state == "awaiting")
        return await self._runs(wanted.order_by(_ROW.created_at))

    async def recent(self, owner: Owner, limit: int) -> Sequence[Run]:
        """See `RunStore.recent`."""
        wanted = select(RUNS).where(*_of(owner), _ROW.parent.is_(None))
        return await self._runs(wanted.order_by(_ROW.created_at.desc(), _ROW.id.desc()).limit(limit))

    async def forget(self, owner: Owner, agent: str, conversation: str) -> int:
        """See `RunStore.forget`."""
        async with self._sessions.begin() as session:
            own = select(_ROW.id).where(*_in(owner, agent, conversation))
            gone = set(await session.scalars(own))
            await _remove(session, gone)
        return len(gone)

    async def remove(self, run: Run) -> None:
        """See `RunStore.remove`."""
        async with self._sessions.begin() as session:
            await _remove(session, {run.id})

    async def _change(self, which: ColumnElement[bool], values: Mapping[str, Any]) -> bool:
        changed = update(RUNS).where(which).values(values).returning(_ROW.id)
        async with self._sessions.begin() as session:
            return await session.scalar(changed) is not None

    async def _runs(self, wanted: Any) -> list[Run]:
        async with self._sessions() as session:
            return [_run(row._asdict()) for row in await session.execute(wanted)]


def _of(owner: Owner) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return _ROW.user_id == owner.user_id, _ROW.tenant_id == owner.tenant_id


def _in(owner: Owner, agent: str, conversation: str) -> tuple[ColumnElement[bool], ...]:
    return (*_of(owner), _ROW.agent == agent, _ROW.conversation == conversation)


async def prune_runs(engine: AsyncEngine, before: int, by: str) -> int:
    """Delete runs that nobody has gone on with since ``before``, with all that they delegated; at most `CHUNK` of them.

    Not those that may still be answered, or of which something was done that a person has to look at.

    Args:
        engine: Of the database.
        before: Microseconds since 1970 (UTC).
        by: Who wants it, for the audit trail.

    Returns:
        How many went, without those that they delegated.
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
            await _remove(connection, gone)
            facts = {"before": moment(before).date().isoformat(), "runs": len(gone)}
            await record(connection, "agent.pruned", "runs", actor=by, now=Time().now(), details=facts)
    return len(gone)


async def _remove(session: AsyncSession | AsyncConnection, gone: set[str]) -> None:
    """Delete these runs, those that they delegated, and what was confirmed of them. What is open stays with who is asked."""
    while gone:
        delegated = set(await session.scalars(select(_ROW.id).where(_ROW.parent.in_(gone))))
        closed = and_(_ASKED.run.in_(gone), _ASKED.state.not_in(sorted(OPEN)))
        await session.execute(delete(CONFIRMATIONS).where(closed))
        await session.execute(delete(RUNS).where(_ROW.id.in_(gone)))
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


def _audited(run: Run, step: Step) -> tuple[Kind, dict[str, Any]] | None:
    """What the trail is told: who answered and what was called, not what was said. A confirmation tells of itself."""
    facts: dict[str, Any] = {"agent": run.agent, "owner": run.owner.user_id}
    match step:
        case Answered():
            calls = [f"{call.name} {call.verdict}" for call in step.calls]
            return "agent.answered", facts | {"call": step.call_id, "endpoint": step.endpoint, "tools": calls}
        case Failed():
            return "agent.failed", facts | {"call": step.call_id, "code": step.code}
        case Observed() if step.confirmation is None:
            return "agent.tool", facts | {"call": step.call, "tool": step.name, "status": step.status}
        case _:
            return None
