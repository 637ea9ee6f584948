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
from backend.ledger.audit import ENTRIES, START, ChainTip, Entry, Event, Head
from backend.utils.llm.forks import PerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker
    from sqlalchemy.orm import Session

    from backend.background import Background
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
ALL_ENTRIES: Final = select(*(getattr(AuditEntryRow, name) for name in Entry._fields))
_ALONE: Final = "SELECT pg_advisory_xact_lock(5077290471)"


class _Writer(PerProcess):
    """The writer id of this process's chain."""

    @override
    def _begin(self) -> None:
        self.name = uuid7().hex


_writer = _Writer()


class SigningKeys(Protocol):
    """Supplies the key that signs heads of the audit trail."""

    def newest(self, *, is_first: bool) -> SigningKey:
        """The key to sign with.

        Args:
            is_first: Whether a key may be created if there is none yet.
        """
        ...


async def record(
    session: AsyncSession | AsyncConnection,
    kind: Kind,
    subject: str,
    *,
    actor: str,
    now: datetime,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Add an entry to this process's chain, in the transaction of ``session``, as its last statement.

    Args:
        session: The session of the recorded change: both are committed, or neither.
        kind: What happened.
        subject: What the event is about.
        actor: Who caused the event.
        now: The time of the event, timezone-aware.
        details: JSON-ready facts.
    """
    at = (now - _EPOCH) // _MICROSECOND
    await session.run_sync(record_all, [Event(at, actor, kind, subject, details or {})])


def record_all(connection: Session | Connection, events: Sequence[Event]) -> None:
    """Like `record`, but adds several ``events``, and takes a synchronous connection."""
    if not events:
        return
    end = _grown(connection, len(events))
    number, last, entries = end.sequence - len(events), end.hash, []
    for event in events:
        number += 1
        entry = Entry.of(event, _writer.name, number, last)
        entries.append(entry._asdict())
        last = entry.hash
    connection.execute(_ADD, entries)
    connection.execute(_END, {**_mine(), "last": last})


async def record_alone(
    sessions: async_sessionmaker[AsyncSession],
    kind: Kind,
    subject: str,
    *,
    actor: str,
    details: Mapping[str, str],
) -> None:
    """Like `record`, but in a transaction of its own, for a change that is stored in another system."""
    async with sessions.begin() as session:
        await record(session, kind, subject, actor=actor, now=datetime.now(UTC), details=details)


def _grown(connection: Session | Connection, links: int) -> Any:
    """The number of the last of ``links`` new links, and the hash before them. The chain stays locked until the transaction ends."""
    values = {**_mine(), "links": links}
    found = connection.execute(_GROW, values).first()
    if found is None:
        begin_chain(connection, ENTRIES, _writer.name)
        found = connection.execute(_GROW, values).one()
    return found


def begin_chain(connection: Session | Connection, chain: str, writer: str) -> None:
    """Insert an empty chain for ``writer``, unless it exists.

    Args:
        connection: A connection in a transaction.
        chain: The kind of chain: audit entries, or attempts.
        writer: The id of the process whose chain it is.
    """
    connection.execute(_BEGIN, {"chain": chain, "writer": writer, "hash": START})


def _mine() -> dict[str, str]:
    return {"its_chain": ENTRIES, "its_writer": _writer.name}


class AuditTrail:
    """Signs and lists the audit entries of one database.

    Args:
        sessions: The database.
        clock: The wall clock, timezone-aware.
    """

    def __init__(
        self,
        sessions: async_sessionmaker[AsyncSession],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._sessions = sessions
        self._clock = clock

    async def sign(self, keys: SigningKeys) -> Head | None:
        """Sign the current ends of all chains that have grown since the last head, and store the signature as a new head.

        Returns:
            The new head; None if no chain has grown.

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
    async def signing(
        self, keys: SigningKeys, background: Background, *, every: float
    ) -> AsyncIterator[None]:
        """Sign the chains every ``every`` seconds while the context lasts, and once more when it ends."""
        async with background.repeating("audit", partial(self.sign, keys), every=every):
            yield
        try:
            await self.sign(keys)
        except Exception:  # a stop is in order all the same
            log.exception("audit.not_signed")

    async def _next_head(self, session: AsyncSession, tips: Sequence[ChainTip], keys: SigningKeys) -> Head:
        row = AuditHeadRow
        last = (
            await session.execute(select(row.number, row.hash).order_by(row.number.desc()).limit(1))
        ).first()
        is_first = not await session.scalar(select(exists().where(UserKeyRow.id.is_not(None))))
        number, previous = (last.number, last.hash) if last else (0, START)
        at = (self._clock() - _EPOCH) // _MICROSECOND
        return Head.signed(number + 1, at, tips, previous, keys.newest(is_first=is_first))

    async def entries(
        self, *, limit: int, kind: str | None = None, subject: str | None = None
    ) -> Sequence[Entry]:
        """List the newest audit entries, the newest first.

        Args:
            limit: The most entries.
            kind: Only entries of this kind (``key.added``), or of this family of kinds (``key``); None for all.
            subject: Only entries about this subject; None for all.
        """
        row = AuditEntryRow
        query = ALL_ENTRIES.order_by(row.at.desc(), row.writer, row.sequence.desc()).limit(limit)
        if kind is not None:
            query = query.where((row.kind == kind) | row.kind.startswith(f"{kind}.", autoescape=True))
        if subject is not None:
            query = query.where(row.subject == subject)
        async with self._sessions() as session:
            return [Entry._make(found) for found in await session.execute(query)]


async def _to_sign(session: AsyncSession) -> list[ChainTip]:
    """The ends of all chains that have grown since the last head, which are marked as signed."""
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(text(_ALONE))
    row = AuditChainRow
    grown = update(row).where(row.signed < row.sequence).values(signed=row.sequence)
    found = await session.execute(grown.returning(row.chain, row.writer, row.sequence, row.hash))
    return [ChainTip(*tip) for tip in found]
