"""Stores users' own keys, encrypted, in the database."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import ColumnElement, and_, bindparam, case, delete, exists, literal, or_, select, update

from backend.access import DataOwner
from backend.database.audit import record_audit_event
from backend.database.changes import announce_change
from backend.database.dialects import acquire_exclusive_lock, make_insert
from backend.database.tables import (
    KeyNotificationRow,
    KeyRemovalRow,
    UserKeyRow,
    UserKeySettingsRow,
    UtcDateTime,
)
from backend.database.transactions import get_transaction_runner
from backend.database.wal import erase_deleted_data
from backend.keys.errors import MasterKeyError
from backend.keys.problem import KeyProblem
from backend.keys.signing import ConfirmationSigner
from backend.keys.store import KeyRemoval, KeyVersion
from backend.keys.vault import EncryptedKey, KeyIdentity, OwnEndpointConfig
from backend.ledger.audit import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
    from sqlalchemy.sql.dml import ReturningInsert

    from backend.keys.master_keys import MasterKeys
    from backend.keys.store import VersionFactory, VersionUpdater
    from backend.ledger.audit import Kind

_REMEMBERED: Final = timedelta(hours=1)
"""For how long it is told that a key was removed. Every process asks twice a second."""
_REMOVED: Final = (
    select(KeyRemovalRow.number, KeyRemovalRow.key_id, KeyRemovalRow.removed_at)
    .where(KeyRemovalRow.number > bindparam("after"))
    .order_by(KeyRemovalRow.number)
)


class SqlKeyStore:
    """A `KeyStore` in SQLite or PostgreSQL, without a cache: a removed key is gone for all processes.

    Removed keys, and what re-encryption replaced, are also erased from SQLite's write-ahead log: at once, or
    within seconds if the log is in use.
    """

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions
        self._transactions = get_transaction_runner(sessions.kw["bind"])

    async def add_version(
        self,
        identity: KeyIdentity,
        make_version: VersionFactory,
        *,
        now: datetime,
        previous_valid_until: datetime,
    ) -> KeyVersion:
        """Store the new key version that ``make_version`` returns, and delete all versions that have expired.

        The previous version stays valid until ``previous_valid_until``; older ones are deleted. The change is
        recorded in the audit trail.
        """
        row, mine = UserKeyRow, _versions(DataOwner(identity.user_id, identity.tenant_id), identity.provider)
        ends = and_(mine, row.valid_until.is_not(None)) if previous_valid_until > now else mine
        async with self._sessions.begin() as session:
            await acquire_exclusive_lock(session)
            removed = await _remove(session, or_(ends, row.valid_until <= now), now)
            left = update(row).where(mine).values(valid_until=previous_valid_until).returning(row.id)
            await _note_removals(session, await session.scalars(left), previous_valid_until)
            key = make_version((await session.scalar(select(row.id).limit(1))) is not None)
            session.add(_row(key))
            await session.flush()
            await _tell_of_ends(session, removed, now, identity.user_id)
            await _tell(session, "key.added", key.place, now, identity.user_id)
        if removed:
            await erase_deleted_data(self._sessions, UserKeyRow.__tablename__)
        return key

    async def list_versions(self, owner: DataOwner, now: datetime) -> Sequence[KeyVersion]:
        """List the versions of ``owner``'s keys that are valid at ``now``, by provider, the newest version first."""
        row, chose = UserKeyRow, UserKeySettingsRow
        query = (
            select(row, chose.house_fallback)
            .outerjoin(chose, and_(chose.user_id == row.user_id, chose.tenant_id == row.tenant_id))
            .where(_belongs_to(owner), or_(row.valid_until.is_(None), row.valid_until > now))
            .order_by(row.provider, row.valid_until.is_not(None), row.created_at.desc())
        )
        async with self._sessions() as session:
            found = await session.execute(query)
            return [_kept(key)._replace(house_fallback=bool(chosen)) for key, chosen in found]

    async def remove_key(self, owner: DataOwner, provider: str, now: datetime) -> bool:
        """Delete every version of ``owner``'s key for ``provider``; False if there was none.

        Recorded in the audit trail.
        """
        async with self._sessions.begin() as session:
            await acquire_exclusive_lock(session)
            removed = await _remove(session, _versions(owner, provider), now)
            await _tell_of_ends(session, removed, now, owner.user_id)
        if removed:
            await erase_deleted_data(self._sessions, UserKeyRow.__tablename__)
        return bool(removed)

    async def list_removals(self, after_number: int) -> Sequence[KeyRemoval]:
        """List the removals and replacements of keys whose number is above ``after_number``, in ascending order."""

        def read(connection: Connection) -> list[KeyRemoval]:
            return [KeyRemoval(*found) for found in connection.execute(_REMOVED, {"after": after_number})]

        return await self._transactions.run_read_only(read)

    async def set_house_fallback(self, owner: DataOwner, *, house_fallback: bool) -> None:
        """Store whether the operator's keys may pay for ``owner``'s calls when ``owner``'s own keys cannot."""
        async with self._sessions.begin() as session:
            new = make_insert(session, UserKeySettingsRow).values(
                **owner._asdict(), house_fallback=house_fallback
            )
            change = new.on_conflict_do_update(
                index_elements=["user_id", "tenant_id"], set_={"house_fallback": house_fallback}
            )
            await session.execute(change)

    async def allows_house_fallback(self, owner: DataOwner) -> bool:
        """Whether ``owner`` agreed that the operator's keys may pay when ``owner``'s own cannot; False by default."""
        async with self._sessions() as session:
            row = await session.get(UserKeySettingsRow, (owner.user_id, owner.tenant_id))
        return row is not None and row.house_fallback

    async def record_use(self, row_ids: Collection[str], now: datetime) -> None:
        """Set the time of the last use of the key versions with the ids ``row_ids`` to ``now``.

        A key's first use of a day is recorded in the audit trail.
        """
        key, day = UserKeyRow, now.replace(hour=0, minute=0, second=0, microsecond=0)
        change = update(key).where(key.id.in_(row_ids)).values(last_used_at=now)
        not_today = or_(key.last_used_at.is_(None), key.last_used_at < day)
        async with self._sessions.begin() as session:
            first = (await session.scalars(change.where(not_today).returning(key))).all()
            await session.execute(change)
            for row in first:
                await _tell(session, "key.used", _kept(row).place, now, row.user_id)

    async def record_problem(self, row_id: str, problem: KeyProblem) -> bool:
        """Store that a provider refuses the key version ``row_id``, and why.

        Returns:
            Whether to notify the owner: True once per reason and day. False if the version no longer exists.
        """
        key, since = UserKeyRow, literal(problem.since, UtcDateTime)
        change = (
            update(key)
            .where(key.id == row_id)
            .values(
                trouble_reason=problem.reason,
                trouble_endpoint=problem.endpoint,
                trouble_since=case((key.trouble_reason == problem.reason, key.trouble_since), else_=since),
                trouble_last=problem.last,
            )
        )
        async with self._sessions.begin() as session:
            if (await session.execute(change.returning(key.id))).first() is None:
                return False
            return (await session.execute(_new_notice(session, row_id, problem))).first() is not None

    async def clear_resolved_problem(self, row_id: str, endpoint: str) -> None:
        """Clear the problem of the key version ``row_id`` if a successful call at ``endpoint`` shows it is over."""
        key = UserKeyRow
        ends = or_(key.trouble_reason != "no_access", key.trouble_endpoint == endpoint)
        change = update(key).where(key.id == row_id, ends)
        nothing = dict.fromkeys(("trouble_reason", "trouble_endpoint", "trouble_since", "trouble_last"))
        async with self._sessions.begin() as session:
            await session.execute(change.values(nothing))

    async def rewrap_all_data_keys(self, rewrap_versions: VersionUpdater) -> int:
        """Pass all key versions to ``rewrap_versions``, and store those that it returns, with a new master key.

        Returns:
            How many versions were stored.
        """
        async with self._sessions.begin() as session:
            await acquire_exclusive_lock(session)
            renewed = list(
                rewrap_versions([_kept(found) for found in await session.scalars(select(UserKeyRow))])
            )
            for key in renewed:
                change = update(UserKeyRow).where(UserKeyRow.id == key.place.row)
                await session.execute(change.values(master=key.sealed.master, wrapped=key.sealed.wrapped))
        if renewed:
            await erase_deleted_data(self._sessions, UserKeyRow.__tablename__)
        return len(renewed)


async def _remove(session: AsyncSession, which: ColumnElement[bool], now: datetime) -> Sequence[KeyVersion]:
    """Delete the versions ``which``, and record their removal."""
    gone = [
        _kept(row) for row in await session.scalars(delete(UserKeyRow).where(which).returning(UserKeyRow))
    ]
    await session.execute(delete(KeyRemovalRow).where(KeyRemovalRow.removed_at < now - _REMEMBERED))
    await _note_removals(session, [key.place.row for key in gone], now)
    return gone


async def _tell_of_ends(session: AsyncSession, gone: Iterable[KeyVersion], now: datetime, by: str) -> None:
    """Record in the audit trail who ended each version, or that it expired."""
    for key in gone:
        is_over = key.valid_until is not None and key.valid_until <= now
        kind: Kind = "key.expired" if is_over else "key.revoked"
        await _tell(session, kind, key.place, now, SYSTEM if is_over else by)


async def _tell(session: AsyncSession, kind: Kind, place: KeyIdentity, now: datetime, actor: str) -> None:
    facts = {"user": place.user_id, "tenant": place.tenant_id, "provider": place.provider}
    await record_audit_event(session, kind, place.row, actor=actor, now=now, details=facts)


async def _note_removals(session: AsyncSession, rows: Iterable[str], at: datetime) -> None:
    """Record, for processes that have handed out the versions in ``rows``, that they are invalid from ``at`` on."""
    session.add_all(KeyRemovalRow(key_id=row, removed_at=at) for row in rows)
    await announce_change(session, "keys")


def _new_notice(session: AsyncSession, row: str, problem: KeyProblem) -> ReturningInsert[tuple[str]]:
    """Record that the owner is notified of ``problem`` on its day; returns nothing if they already were."""
    day = problem.last.date()
    new = make_insert(session, KeyNotificationRow).values(key_id=row, reason=problem.reason, day=day)
    newer = new.on_conflict_do_update(
        index_elements=["key_id", "reason"], set_={"day": day}, where=KeyNotificationRow.day < day
    )
    return newer.returning(KeyNotificationRow.key_id)


def _belongs_to(owner: DataOwner) -> ColumnElement[bool]:
    return and_(UserKeyRow.user_id == owner.user_id, UserKeyRow.tenant_id == owner.tenant_id)


def _versions(owner: DataOwner, provider: str) -> ColumnElement[bool]:
    return and_(_belongs_to(owner), UserKeyRow.provider == provider)


def _row(key: KeyVersion) -> UserKeyRow:
    place, sealed = key.place, key.sealed
    return UserKeyRow(
        id=place.row,
        tenant_id=place.tenant_id,
        user_id=place.user_id,
        provider=place.provider,
        base_url=place.server and place.server.base_url,
        model=place.server and place.server.model,
        master=sealed.master,
        wrapped=sealed.wrapped,
        box=sealed.box,
        fingerprint=sealed.fingerprint,
        tail=key.tail,
        created_at=key.created_at,
        last_used_at=key.last_used_at,
        valid_until=key.valid_until,
    )


def _kept(row: UserKeyRow) -> KeyVersion:
    place = KeyIdentity(row.tenant_id, row.user_id, row.provider, row.id, _server(row))
    sealed = EncryptedKey(row.master, row.wrapped, row.box, row.fingerprint)
    return KeyVersion(
        place, sealed, row.tail, row.created_at, row.last_used_at, row.valid_until, _problem(row)
    )


def _server(row: UserKeyRow) -> OwnEndpointConfig | None:
    return None if row.base_url is None or row.model is None else OwnEndpointConfig(row.base_url, row.model)


def _problem(row: UserKeyRow) -> KeyProblem | None:
    reason, endpoint, since, last = (
        row.trouble_reason,
        row.trouble_endpoint,
        row.trouble_since,
        row.trouble_last,
    )
    if reason is None or endpoint is None or since is None or last is None:
        return None
    return KeyProblem(reason, endpoint, since, last)


async def make_confirmation_signer(
    sessions: async_sessionmaker[AsyncSession], master_keys: MasterKeys
) -> ConfirmationSigner:
    """Make the signer that protects stored confirmations against changes.

    Its keys are derived from ``master_keys``. A missing master key is created, but only while no user's key
    is stored, because a stored key means that a master key was lost.
    """
    async with sessions() as session:
        has_keys = await session.scalar(select(exists().where(UserKeyRow.id.is_not(None))))
    if not has_keys:
        with suppress(MasterKeyError):  # whoever needs a seal is told then
            master_keys.get_or_create_newest_key()
    return ConfirmationSigner(master_keys)
