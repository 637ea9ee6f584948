"""Confirmations in the database, each change with its entry in the audit trail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from backend.agents.confirmations import Confirmation
from backend.database.agent_tables import CONFIRMATIONS, IS_EXECUTING, IS_OPEN, IS_PENDING
from backend.database.audit import record
from backend.ledger.audit import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

    from backend.access import Owner
    from backend.agents.confirmations import Change
    from backend.ledger.audit import Kind

_ROW: Final = CONFIRMATIONS.c
_COLUMNS: Final = [_ROW[name] for name in Confirmation._fields]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class SqlConfirmationStore:
    """A `ConfirmationStore`."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def add(self, one: Confirmation) -> bool:
        """See `ConfirmationStore.add`."""
        kind: Kind = "agent.asked" if one.state == "pending" else "agent.recorded"
        actor = one.user_id if one.state == "pending" else SYSTEM
        try:
            async with self._sessions.begin() as session:
                await session.execute(insert(CONFIRMATIONS).values(one._asdict()))
                await record(
                    session, kind, one.id, actor=actor, now=moment(one.asked_at), details=one.audited()
                )
        except IntegrityError:
            return False
        return True

    async def get(self, owner: Owner, confirmation_id: str) -> Confirmation | None:
        """See `ConfirmationStore.get`."""
        found = await self._all(select(*_COLUMNS).where(*_of(owner, confirmation_id)))
        return found[0] if found else None

    async def deny(self, owner: Owner, confirmation_id: str, now: int) -> None:
        """See `ConfirmationStore.deny`."""
        async with self._sessions() as session:
            exists = await session.scalar(select(_ROW.id).where(_ROW.id == confirmation_id))
        if exists is not None:
            async with self._sessions.begin() as session:
                await record(session, "agent.denied", confirmation_id, actor=owner.user_id, now=moment(now))

    async def change(self, owner: Owner, confirmation_id: str, change: Change) -> Confirmation | None:
        """See `ConfirmationStore.change`."""
        changed = (
            update(CONFIRMATIONS)
            .where(*_of(owner, confirmation_id), *_conditions(change))
            .values(state=change.target, **change.values)
            .returning(*_COLUMNS)
        )
        async with self._sessions.begin() as session:
            row = (await session.execute(changed)).first()
            if row is None:
                return None
            one = Confirmation._make(row)
            now, details = moment(change.at), {**one.audited(), **change.details}
            await record(session, change.kind, one.id, actor=change.actor, now=now, details=details)
        return one

    async def of_run(self, run_id: str) -> Sequence[Confirmation]:
        """See `ConfirmationStore.of_run`."""
        wanted = select(*_COLUMNS).where(_ROW.run == run_id).order_by(_ROW.asked_at, _ROW.number)
        return await self._all(wanted)

    async def open(self, owner: Owner, limit: int) -> Sequence[Confirmation]:
        """See `ConfirmationStore.open`."""
        mine = (_ROW.user_id == owner.user_id, _ROW.tenant_id == owner.tenant_id)
        wanted = select(*_COLUMNS).where(*mine, IS_OPEN)
        return await self._all(wanted.order_by(_ROW.asked_at.desc()).limit(limit))

    async def due(self, now: int, limit: int) -> Sequence[Confirmation]:
        """See `ConfirmationStore.due`."""
        expired = select(*_COLUMNS).where(IS_PENDING, _ROW.expires_at <= now).limit(limit)
        left = select(*_COLUMNS).where(IS_EXECUTING, _ROW.leased_until <= now).limit(limit)
        return [*await self._all(expired), *await self._all(left)]

    async def _all(self, wanted: Any) -> list[Confirmation]:
        async with self._sessions() as session:
            return [Confirmation._make(row) for row in await session.execute(wanted)]


def moment(microseconds: int) -> datetime:
    """The moment that is so many microseconds after 1970 (UTC)."""
    return _EPOCH + timedelta(microseconds=microseconds)


def _of(owner: Owner, confirmation_id: str) -> tuple[ColumnElement[bool], ...]:
    return (
        _ROW.id == confirmation_id,
        _ROW.user_id == owner.user_id,
        _ROW.tenant_id == owner.tenant_id,
    )


def _conditions(change: Change) -> list[ColumnElement[bool]]:
    found = [_ROW.state == change.source, *(_ROW[name] == value for name, value in change.equal.items())]
    if change.before is not None:
        found.append(_ROW[change.before] > change.at)
    if change.after is not None:
        found.append(_ROW[change.after] <= change.at)
    return found
