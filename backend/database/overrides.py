"""Stored overrides in the database, each change with its entry in the audit trail."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from backend.database.audit import record_audit_event
from backend.database.changes import announce_change
from backend.database.tables import OverrideRow
from backend.database.transactions import get_transaction_runner
from backend.ledger.audit import SYSTEM
from backend.overrides import OverrideRecord
from backend.utils.llm.model_config import Override

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

_ROW: Final = OverrideRow
_HOLDS: Final = _ROW.ended_at.is_(None)
_HOLDING: Final = select(_ROW).where(_HOLDS).order_by(_ROW.since, _ROW.id)


class SqlOverrideStore:
    """An `OverrideStore` in SQLite or PostgreSQL, without a cache: all processes see a change immediately."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions
        self._transactions = get_transaction_runner(sessions.kw["bind"])

    async def add_override(self, new_override: Override) -> None:
        """Store a new override, and end the active one of the same subject, if any. Recorded in the audit trail."""
        try:
            await self._add(new_override)
        except IntegrityError:  # somebody else decided on the same subject in the same moment, and was first
            await self._add(new_override)

    async def _add(self, one: Override) -> None:
        who: dict[str, Any] = {"actor": one.author, "now": one.since}
        async with self._sessions.begin() as session:
            await _expire(session, one.since)
            for before in await _ended(session, _ROW.subject == one.subject, one.author, one.since):
                await record_audit_event(
                    session, "override.replaced", before.subject, details={"id": before.id}, **who
                )
            await announce_change(session, "overrides")
            await session.execute(insert(_ROW).values({**one._asdict(), "links": json.dumps(one.links)}))
            await record_audit_event(session, "override.set", one.subject, details=one.as_dict(), **who)

    async def end_override(self, override_id: str, actor: str, now: datetime) -> Override | None:
        """End the override ``override_id``, and return it; None if no active override has this id.

        Recorded in the audit trail.
        """
        async with self._sessions.begin() as session:
            await _expire(session, now)
            await announce_change(session, "overrides")
            ended = await _ended(session, _ROW.id == override_id, actor, now)
            for other in ended:
                details = {"id": other.id}
                await record_audit_event(
                    session, "override.reverted", other.subject, actor=actor, now=now, details=details
                )
        return ended[0] if ended else None

    async def list_active(self, now: datetime) -> Sequence[Override]:
        """List the overrides that are active at ``now``, the oldest first.

        Overrides that have expired are marked as ended.
        """
        found = await self._transactions.run_read_only(_holding)
        holding = [override for override in found if now < override.until]
        if len(holding) < len(found):
            async with self._sessions.begin() as session:
                await _expire(session, now)
        return holding

    async def list_recent(self, limit: int) -> Sequence[OverrideRecord]:
        """List the last ``limit`` overrides, ended ones included, the newest first."""
        query = select(_ROW).order_by(_ROW.since.desc(), _ROW.id).limit(limit)
        async with self._sessions() as session:
            return [
                OverrideRecord(_override(row), row.ended_at, row.ended_by)
                for row in await session.scalars(query)
            ]


async def _expire(session: AsyncSession, now: datetime) -> None:
    """End expired overrides. As this writes, concurrent changes wait for one another."""
    for override in await _ended(session, _ROW.until <= now, SYSTEM, _ROW.until):
        await record_audit_event(
            session, "override.expired", override.subject, actor=SYSTEM, now=now, details={"id": override.id}
        )


async def _ended(session: AsyncSession, which: ColumnElement[bool], by: str, at: Any) -> list[Override]:
    """End the overrides of ``which`` that hold, and return them."""
    change = update(_ROW).where(which, _HOLDS).values(ended_at=at, ended_by=by).returning(_ROW)
    return [_override(row) for row in await session.scalars(change)]


def _holding(connection: Connection) -> list[Override]:
    return [_override(row) for row in connection.execute(_HOLDING)]


def _override(row: Any) -> Override:
    links = tuple(json.loads(row.links))
    return Override(row.id, row.subject, links, row.author, row.reason, row.since, row.until)
