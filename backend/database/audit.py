"""Writes and signs the audit trail in the database. An entry is added in the transaction of the change that it records."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from sqlalchemy import BigInteger, bindparam, exists, insert, select, text, update
from typing_extensions import override
from uuid_utils import uuid7

from backend.database.tables import AuditChainRow, AuditEntryRow, AuditHeadRow, Base, UserKeyRow
from backend.ledger.audit import ENTRIES, START, AuditEntry, AuditEvent, ChainTip, SignedHead
from backend.utils.llm.forks import ForkSafe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker
    from sqlalchemy.orm import Session

    from backend.background import BackgroundTaskRunner
    from backend.ledger.audit import Kind, SigningKey

log = logging.getLogger(__name__)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_CHAINS: Final = Base.metadata.tables[AuditChainRow.__tablename__]
_IS_MINE: Final = (_CHAINS.c.chain == bindparam("its_chain"), _CHAINS.c.writer == bindparam("its_writer"))
_GROW: Final = (
    update(_CHAINS)
    .where(*_IS_MINE)
    .values(sequence=_CHAINS.c.sequence + bindparam("links", type_=BigInteger))
    .returning(_CHAINS.c.sequence, _CHAINS.c.hash)
)
_END: Final = update(_CHAINS).where(*_IS_MINE).values(hash=bindparam("last"))
_ADD: Final = insert(Base.metadata.tables[AuditEntryRow.__tablename__])
_BEGIN: Final = text(
    "INSERT INTO audit_chains (chain, writer, sequence, hash, signed) "
    "VALUES (:chain, :writer, 0, :hash, 0) ON CONFLICT DO NOTHING"
)
ALL_ENTRIES: Final = select(*(getattr(AuditEntryRow, name) for name in AuditEntry._fields))
_ALONE: Final = "SELECT pg_advisory_xact_lock(5077290471)"


class _Writer(ForkSafe):
    """The writer id of this process's chain."""

    @override
    def _begin(self) -> None:
        self.name = uuid7().hex


_writer = _Writer()


class SigningKeySource(Protocol):
    """Supplies the key with which `AuditTrail` signs the ends of the hash chains."""

    def newest_signing_key(self, *, may_create_master_key: bool) -> SigningKey:
        """Return the newest signing key.

        Args:
            may_create_master_key: Whether to create a master key if there is none. Pass True only while no
                user's key is stored.
        """
        ...


async def record_audit_event(
    session: AsyncSession | AsyncConnection,
    kind: Kind,
    subject: str,
    *,
    actor: str,
    now: datetime,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Add an entry to the audit trail, in the transaction of ``session``.

    Call this last in the transaction: the hash chain of this process stays locked until the transaction
    ends.

    Args:
        session: The session in which the recorded change is made. Both are committed, or neither.
        kind: What happened, such as ``key.added``.
        subject: What was changed, such as the id of a key.
        actor: The user or operator who caused the event, or ``system``.
        now: The time of the event, timezone-aware.
        details: Further facts, ready for JSON.
    """
    at = (now - _EPOCH) // _MICROSECOND
    await session.run_sync(record_audit_events, [AuditEvent(at, actor, kind, subject, details or {})])


def record_audit_events(connection: Session | Connection, events: Sequence[AuditEvent]) -> None:
    """Add an audit entry for each of ``events``, in the transaction of ``connection``.

    The synchronous form of `record_audit_event`, for several events.
    """
    if not events:
        return
    end = _grown(connection, len(events))
    number, last, entries = end.sequence - len(events), end.hash, []
    for event in events:
        number += 1
        entry = AuditEntry.from_event(event, _writer.name, number, last)
        entries.append(entry._asdict())
        last = entry.hash
    connection.execute(_ADD, entries)
    connection.execute(_END, {**_mine(), "last": last})


async def commit_audit_event(
    sessions: async_sessionmaker[AsyncSession],
    kind: Kind,
    subject: str,
    *,
    actor: str,
    details: Mapping[str, str],
) -> None:
    """Add an audit entry in a new transaction, for a change that is stored in another system, such as Redis.

    The arguments are those of `record_audit_event`.
    """
    async with sessions.begin() as session:
        await record_audit_event(session, kind, subject, actor=actor, now=datetime.now(UTC), details=details)


def _grown(connection: Session | Connection, links: int) -> Any:
    """The number of the last of ``links`` new links, and the hash before them. The chain stays locked until the transaction ends."""
    values = {**_mine(), "links": links}
    found = connection.execute(_GROW, values).first()
    if found is None:
        create_hash_chain_if_missing(connection, ENTRIES, _writer.name)
        found = connection.execute(_GROW, values).one()
    return found


def create_hash_chain_if_missing(connection: Session | Connection, chain: str, writer: str) -> None:
    """Insert an empty hash chain for ``writer``; do nothing if the chain exists.

    Args:
        connection: A connection in a transaction.
        chain: The kind of chain: ``audit`` for audit entries, ``ledger`` for attempts.
        writer: The id of the process that writes the chain.
    """
    connection.execute(_BEGIN, {"chain": chain, "writer": writer, "hash": START})


def _mine() -> dict[str, str]:
    return {"its_chain": ENTRIES, "its_writer": _writer.name}


class AuditTrail:
    """Lists the audit entries in a database, and signs the hash chains of the audit trail and the ledger.

    Args:
        sessions: Opens sessions on the database.
        clock: Returns the current time, timezone-aware.
    """

    def __init__(
        self,
        sessions: async_sessionmaker[AsyncSession],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._sessions = sessions
        self._clock = clock

    async def sign_hash_chains(self, keys: SigningKeySource) -> SignedHead | None:
        """Sign the last link of each hash chain that has grown since the last signature.

        One signature, called a head, covers all of these links. It is stored in the table ``audit_heads``.

        Returns:
            The new signed head; None if no chain has grown.

        Raises:
            MasterKeyError: There is no key to sign with.
        """
        async with self._sessions.begin() as session:
            if (tips := await _to_sign(session)) == []:
                return None
            head = await self._next_head(session, tips, keys)
            await session.execute(insert(AuditHeadRow).values(head._asdict()))
        # Whoever keeps the log elsewhere has with it what nobody can cut off from the trail unseen.
        log.info("audit.head number=%d hash=%s", head.number, head.hash)
        return head

    @asynccontextmanager
    async def sign_hash_chains_periodically(
        self, keys: SigningKeySource, background: BackgroundTaskRunner, *, interval_s: float
    ) -> AsyncIterator[None]:
        """Call `sign_hash_chains` every ``interval_s`` seconds while the context lasts, and once more when it ends."""
        async with background.run_repeatedly(
            "audit", partial(self.sign_hash_chains, keys), interval_s=interval_s
        ):
            yield
        try:
            await self.sign_hash_chains(keys)
        except Exception:  # a stop is in order all the same
            log.exception("audit.not_signed")

    async def _next_head(
        self, session: AsyncSession, tips: Sequence[ChainTip], keys: SigningKeySource
    ) -> SignedHead:
        row = AuditHeadRow
        last = (
            await session.execute(select(row.number, row.hash).order_by(row.number.desc()).limit(1))
        ).first()
        is_first = not await session.scalar(select(exists().where(UserKeyRow.id.is_not(None))))
        number, previous = (last.number, last.hash) if last else (0, START)
        at = (self._clock() - _EPOCH) // _MICROSECOND
        return SignedHead.sign_next(
            number + 1, at, tips, previous, keys.newest_signing_key(may_create_master_key=is_first)
        )

    async def list_entries(
        self, *, limit: int, kind: str | None = None, subject: str | None = None
    ) -> Sequence[AuditEntry]:
        """List the newest audit entries, the newest first.

        Args:
            limit: The most entries to return.
            kind: Return only entries of this kind (``key.added``) or group of kinds (``key``); None for all.
            subject: Return only entries about this subject, such as the id of a key; None for all.
        """
        row = AuditEntryRow
        query = ALL_ENTRIES.order_by(row.at.desc(), row.writer, row.sequence.desc()).limit(limit)
        if kind is not None:
            query = query.where((row.kind == kind) | row.kind.startswith(f"{kind}.", autoescape=True))
        if subject is not None:
            query = query.where(row.subject == subject)
        async with self._sessions() as session:
            return [AuditEntry._make(found) for found in await session.execute(query)]


async def _to_sign(session: AsyncSession) -> list[ChainTip]:
    """The ends of all chains that have grown since the last head, which are marked as signed."""
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(text(_ALONE))
    row = AuditChainRow
    grown = update(row).where(row.signed < row.sequence).values(signed=row.sequence)
    found = await session.execute(grown.returning(row.chain, row.writer, row.sequence, row.hash))
    return [ChainTip(*tip) for tip in found]
