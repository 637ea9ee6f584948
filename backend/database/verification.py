"""Verifies the audit trail and the ledger in the database."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import select, text

from backend.database.audit import ALL_ENTRIES
from backend.database.ledger_tables import ATTEMPTS, COLUMNS, DAY
from backend.database.tables import AuditChainRow, AuditEntryRow, AuditHeadRow
from backend.ledger import audit
from backend.ledger.audit import ENTRIES, ChainLength, Entry, Head
from backend.ledger.chains import chain_link
from backend.ledger.store import Spooled
from backend.ledger.verification import AttemptWalk, Break, ChainWalk, check_heads
from backend.utils.llm.ledger.record import AttemptRecord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import Row, Select
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

    from backend.ledger.audit import Verifier
    from backend.ledger.chains import ChainLink
    from backend.ledger.verification import Signatures

_HEADS: Final = select(*(getattr(AuditHeadRow, name) for name in Head._fields)).order_by(AuditHeadRow.number)
_ROWS: Final = select(*(ATTEMPTS.c[name] for name in COLUMNS))
_PAGE: Final = 1_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Verification(NamedTuple):
    """What a verification of the audit trail and the ledger found.

    Attributes:
        entries: How many audit entries were verified.
        attempts: How many rows of the ledger were verified.
        heads: How many heads were verified.
        unverified: How many of the last heads cannot be verified, because their master key is gone.
        beside_pruned: How many rows cannot be verified, because neighbouring rows were pruned.
        last: The last head, whose hash is to be kept elsewhere; None if there is none.
        breaks: The signs of tampering, in order; empty if there are none.
    """

    entries: int = 0
    attempts: int = 0
    heads: int = 0
    unverified: int = 0
    beside_pruned: int = 0
    last: Head | None = None
    breaks: tuple[Break, ...] = ()


async def verify(
    sessions: async_sessionmaker[AsyncSession],
    verifier: Verifier,
    *,
    expect: str | None = None,
    attempts: bool = True,
) -> Verification:
    """Verify the hash chains and signatures of the audit trail, and those of the ledger, without blocking writers.

    Args:
        sessions: The database.
        verifier: Verifies the heads' signatures.
        expect: The hash of a head, kept elsewhere, that must still be there; None for none.
        attempts: Whether to verify the ledger, too: half a minute per million rows.
    """
    async with sessions() as session:
        await _at_one_moment(session)
        heads = [Head._make(row) for row in await session.execute(_HEADS)]
        signatures, breaks = check_heads(heads, verifier)
        if expect is not None and all(head.hash != expect for head in heads):
            breaks.append(Break("truncated", f"the head {expect}", "no head has this hash"))
        walk = _Walk(session, signatures, breaks)
        await walk.entries()
        if attempts:
            await walk.attempts()
    return walk.found._replace(
        heads=len(heads), unverified=signatures.unverified, last=signatures.last, breaks=tuple(breaks)
    )


class _Walk:
    """The verification of all chains of a database, one after the other."""

    def __init__(self, session: AsyncSession, signatures: Signatures, breaks: list[Break]) -> None:
        self._session = session
        self._signatures = signatures
        self._breaks = breaks
        self._pruned = 0
        self.found = Verification()

    async def entries(self) -> None:
        row = AuditEntryRow
        chains = await self._grown(ENTRIES)
        for writer in await self._writers(ENTRIES, chains, row.writer):
            walk = ChainWalk(writer, chains.get(writer), self._signatures.of(ENTRIES, writer))
            async for found in self._pages(ALL_ENTRIES.where(row.writer == writer), row.sequence):
                entry = Entry._make(found)
                walk.see(entry)
                self._pruned = max(self._pruned, _pruned_before(entry))
            walk.end()
            self._breaks += walk.breaks
            self.found = self.found._replace(entries=self.found.entries + walk.count)

    async def attempts(self) -> None:
        chain, columns = audit.ATTEMPTS, ATTEMPTS.c
        chains = await self._grown(chain)
        for writer in await self._writers(chain, chains, columns.writer):
            walk = AttemptWalk(
                writer, chains.get(writer), self._signatures.of(chain, writer), pruned=self._pruned
            )
            async for found in self._pages(_ROWS.where(columns.writer == writer), columns.sequence):
                walk.see(_leaf(found))
            walk.end()
            self._breaks += walk.breaks
            self.found = self.found._replace(
                attempts=self.found.attempts + walk.count,
                beside_pruned=self.found.beside_pruned + walk.unverified,
            )

    async def _grown(self, chain: str) -> dict[str, ChainLength]:
        row = AuditChainRow
        query = select(row.writer, row.sequence, row.hash, row.signed).where(row.chain == chain)
        found = await self._session.execute(query)
        return {row.writer: ChainLength(row.sequence, row.hash, row.signed) for row in found}

    async def _writers(self, chain: str, chains: dict[str, ChainLength], column: Any) -> list[str]:
        """Every writer with rows left in a chain, in the order in which they began."""
        written = await self._session.scalars(select(column).distinct())
        signed = {writer for signed_chain, writer in self._signatures.tips if signed_chain == chain}
        return sorted({*written, *signed, *chains})

    async def _pages(self, query: Select[Any], sequence: Any) -> AsyncIterator[Row[Any]]:
        """The rows of one writer in order, page by page."""
        query, after = query.order_by(sequence).limit(_PAGE), None
        while True:
            page = (
                await self._session.execute(query if after is None else query.where(sequence > after))
            ).all()
            for row in page:
                yield row
            if len(page) < _PAGE:
                return
            after = page[-1].sequence


async def _at_one_moment(session: AsyncSession) -> None:
    """Make all following reads see the same snapshot, even if others write."""
    if session.get_bind().dialect.name == "postgresql":
        await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    else:
        await session.execute(text("BEGIN"))


def _leaf(row: Row[Any]) -> ChainLink:
    writer, sequence, *record = tuple(row)
    return chain_link(Spooled(writer, sequence, AttemptRecord._make(record)))


def _pruned_before(entry: Entry) -> int:
    """The time, in microseconds since 1970, before which ``entry`` records that attempts were pruned; else 0."""
    if entry.kind == "ledger.pruned":
        with suppress(ValueError, KeyError, TypeError):
            before = datetime.fromisoformat(json.loads(entry.details)["before"])
            return (before.replace(tzinfo=UTC) - _EPOCH).days * DAY
    return 0
