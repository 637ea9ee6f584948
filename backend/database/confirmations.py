"""Stores confirmations in the database, each change together with its entry in the audit trail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, Integer, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from backend.agents.confirmations import Confirmation
from backend.database.agent_tables import CONFIRMATIONS, IS_EXECUTING, IS_OPEN, IS_PENDING
from backend.database.audit import record_audit_events
from backend.ledger.audit import SYSTEM, AuditEvent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from sqlalchemy import ColumnElement, Connection, Select

    from backend.access import DataOwner
    from backend.agents.confirmations import StateChange
    from backend.database.transactions import TransactionRunner
    from backend.ledger.audit import Kind

_ROW: Final = CONFIRMATIONS.c
_COLUMNS: Final = [_ROW[name] for name in Confirmation._fields]
_ALL: Final = select(*_COLUMNS)
_MINE: Final = (_ROW.user_id == bindparam("user_id"), _ROW.tenant_id == bindparam("tenant_id"))
_MOST: Final = bindparam("most", type_=Integer)
_NOW: Final = bindparam("now", type_=BigInteger)
_ADD: Final = insert(CONFIRMATIONS)
_GET: Final = _ALL.where(_ROW.id == bindparam("id"), *_MINE)
_EXISTS: Final = select(_ROW.id).where(_ROW.id == bindparam("id"))
_OF_RUN: Final = _ALL.where(_ROW.run == bindparam("run")).order_by(_ROW.asked_at, _ROW.number)
_OPEN: Final = _ALL.where(*_MINE, IS_OPEN).order_by(_ROW.asked_at.desc()).limit(_MOST)
_EXPIRED: Final = _ALL.where(IS_PENDING, _ROW.expires_at <= _NOW).limit(_MOST)
_LEFT: Final = _ALL.where(IS_EXECUTING, _ROW.leased_until <= _NOW).limit(_MOST)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class SqlConfirmationStore:
    """A `ConfirmationStore` in SQLite or PostgreSQL."""

    def __init__(self, transactions: TransactionRunner) -> None:
        self._transactions = transactions

    async def add(self, confirmation: Confirmation) -> bool:
        """Store a new confirmation; False if one with the same run, call and number is already stored."""
        kind: Kind = "agent.asked" if confirmation.state == "pending" else "agent.recorded"
        actor = confirmation.user_id if confirmation.state == "pending" else SYSTEM

        def add(connection: Connection) -> None:
            connection.execute(_ADD, confirmation._asdict())
            record_audit_events(
                connection,
                [
                    AuditEvent(
                        confirmation.asked_at, actor, kind, confirmation.id, confirmation.audit_fields()
                    )
                ],
            )

        try:
            await self._transactions.run(add)
        except IntegrityError:
            return False
        return True

    async def get(self, owner: DataOwner, confirmation_id: str) -> Confirmation | None:
        """Return the confirmation with the given id; None if it does not exist, or belongs to another owner."""
        found = await self._all(_GET, {"id": confirmation_id, **_its(owner)})
        return found[0] if found else None

    async def record_denied_access(self, owner: DataOwner, confirmation_id: str, now: int) -> None:
        """Record in the audit trail that ``owner`` asked for another owner's confirmation. Ignores unknown ids."""

        def deny(connection: Connection) -> None:
            if connection.scalar(_EXISTS, {"id": confirmation_id}) is not None:
                record_audit_events(
                    connection, [AuditEvent(now, owner.user_id, "agent.denied", confirmation_id)]
                )

        await self._transactions.run(deny)

    async def apply_change(
        self, owner: DataOwner, confirmation_id: str, change: StateChange
    ) -> Confirmation | None:
        """Change the confirmation if the conditions in ``change`` hold, and return it; else return None."""
        wanted = (
            update(CONFIRMATIONS)
            .where(*_of(owner, confirmation_id), *_conditions(change))
            .values(state=change.target, **change.values)
            .returning(*_COLUMNS)
        )

        def make(connection: Connection) -> Confirmation | None:
            row = connection.execute(wanted).first()
            if row is None:
                return None
            one = Confirmation._make(row)
            details = {**one.audit_fields(), **change.details}
            record_audit_events(
                connection, [AuditEvent(change.at, change.actor, change.kind, one.id, details)]
            )
            return one

        return await self._transactions.run(make)

    async def list_for_run(self, run_id: str) -> Sequence[Confirmation]:
        """List all confirmations of a run, in the order in which they were created."""
        return await self._all(_OF_RUN, {"run": run_id})

    async def list_open(self, owner: DataOwner, limit: int) -> Sequence[Confirmation]:
        """List at most ``limit`` open confirmations of ``owner``, the newest first.

        A confirmation is open if it is pending or executing, or if the result of its execution is unknown.
        """
        return await self._all(_OPEN, {**_its(owner), "most": limit})

    async def list_overdue(self, now: int, limit: int) -> Sequence[Confirmation]:
        """List confirmations of all owners whose deadline has passed at ``now`` (microseconds since 1970).

        At most ``limit`` of them are pending and have expired, and at most ``limit`` are executing and have no
        result in time.
        """
        expired = await self._all(_EXPIRED, {"now": now, "most": limit})
        return [*expired, *await self._all(_LEFT, {"now": now, "most": limit})]

    async def _all(self, wanted: Select[Any], values: Mapping[str, Any]) -> list[Confirmation]:
        def read(connection: Connection) -> list[Confirmation]:
            return [Confirmation._make(row) for row in connection.execute(wanted, values)]

        return await self._transactions.run_read_only(read)


def datetime_from_microseconds(microseconds: int) -> datetime:
    """Convert microseconds since 1970 to a datetime in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def _its(owner: DataOwner) -> dict[str, str]:
    return {"user_id": owner.user_id, "tenant_id": owner.tenant_id}


def _of(owner: DataOwner, confirmation_id: str) -> tuple[ColumnElement[bool], ...]:
    return (
        _ROW.id == confirmation_id,
        _ROW.user_id == owner.user_id,
        _ROW.tenant_id == owner.tenant_id,
    )


def _conditions(change: StateChange) -> list[ColumnElement[bool]]:
    found = [_ROW.state == change.source, *(_ROW[name] == value for name, value in change.equal.items())]
    if change.before is not None:
        found.append(_ROW[change.before] > change.at)
    if change.after is not None:
        found.append(_ROW[change.after] <= change.at)
    return found
