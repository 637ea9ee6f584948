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
from backend.ledger.audit import ENTRIES, AuditEntry, ChainLength, SignedHead
from backend.ledger.chains import make_chain_link
from backend.ledger.store import SpooledRecord
from backend.ledger.verification import AttemptChainVerifier, ChainBreak, EntryChainVerifier, verify_heads
from backend.utils.llm.ledger.record import AttemptRecord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import Row, Select
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

    from backend.ledger.audit import SignatureVerifier
    from backend.ledger.chains import ChainLink
    from backend.ledger.verification import HeadSignatures

_HEADS: Final = select(*(getattr(AuditHeadRow, name) for name in SignedHead._fields)).order_by(
    AuditHeadRow.number
)
_ROWS: Final = select(*(ATTEMPTS.c[name] for name in COLUMNS))
_PAGE: Final = 1_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ChainVerificationResult(NamedTuple):
    """The result of a verification of the audit trail and the ledger.

    A head is a signature over the last links of all hash chains.

    Attributes:
        entries: How many audit entries were verified.
        attempts: How many rows of the ledger were verified.
        heads: How many heads were verified.
        unverified: How many of the last heads cannot be verified, because their master key is missing.
        beside_pruned: How many ledger rows cannot be verified, because rows next to them were deleted by the
            retention.
        last: The last head; its hash should be kept outside the database. None if there is no head.
        breaks: The signs of tampering that were found, in order; empty if there are none.
    """

    entries: int = 0
    attempts: int = 0
    heads: int = 0
    unverified: int = 0
    beside_pruned: int = 0
    last: SignedHead | None = None
    breaks: tuple[ChainBreak, ...] = ()


async def verify_hash_chains(
    sessions: async_sessionmaker[AsyncSession],
    verifier: SignatureVerifier,
    *,
    expected_hash: str | None = None,
    include_ledger: bool = True,
) -> ChainVerificationResult:
    """Verify the hash chains of the audit trail and the ledger, and the signatures over them.

    Writers are not blocked.

    Args:
        sessions: Opens sessions on the database.
        verifier: Verifies the signatures.
        expected_hash: The hash of a signed head that was kept outside the database and must still exist;
            None to skip this check.
        include_ledger: Whether to verify the ledger too, which takes half a minute per million rows.
    """
    async with sessions() as session:
        await _at_one_moment(session)
        heads = [SignedHead._make(row) for row in await session.execute(_HEADS)]
        signatures, breaks = verify_heads(heads, verifier)
        if expected_hash is not None and all(head.hash != expected_hash for head in heads):
            breaks.append(ChainBreak("truncated", f"the head {expected_hash}", "no head has this hash"))
        walk = _Walk(session, signatures, breaks)
        await walk.entries()
        if include_ledger:
            await walk.attempts()
    return walk.found._replace(
        heads=len(heads), unverified=signatures.unverified, last=signatures.last, breaks=tuple(breaks)
    )


class _Walk:
    """The verification of all chains of a database, one after the other."""

    def __init__(self, session: AsyncSession, signatures: HeadSignatures, breaks: list[ChainBreak]) -> None:
        self._session = session
        self._signatures = signatures
        self._breaks = breaks
        self._pruned = 0
        self.found = ChainVerificationResult()

    async def entries(self) -> None:
        row = AuditEntryRow
        chains = await self._grown(ENTRIES)
        for writer in await self._writers(ENTRIES, chains, row.writer):
            walk = EntryChainVerifier(
                writer, chains.get(writer), self._signatures.signed_links(ENTRIES, writer)
            )
            async for found in self._pages(ALL_ENTRIES.where(row.writer == writer), row.sequence):
                entry = AuditEntry._make(found)
                walk.verify_next(entry)
                self._pruned = max(self._pruned, _pruned_before(entry))
            walk.verify_end()
            self._breaks += walk.breaks
            self.found = self.found._replace(entries=self.found.entries + walk.last_sequence)

    async def attempts(self) -> None:
        chain, columns = audit.ATTEMPTS, ATTEMPTS.c
        chains = await self._grown(chain)
        for writer in await self._writers(chain, chains, columns.writer):
            walk = AttemptChainVerifier(
                writer, chains.get(writer), self._signatures.signed_links(chain, writer), pruned=self._pruned
            )
            async for found in self._pages(_ROWS.where(columns.writer == writer), columns.sequence):
                walk.verify_next(_leaf(found))
            walk.verify_end()
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
    return make_chain_link(SpooledRecord(writer, sequence, AttemptRecord._make(record)))


def _pruned_before(entry: AuditEntry) -> int:
    """The time, in microseconds since 1970, before which ``entry`` records that attempts were pruned; else 0."""
    if entry.kind == "ledger.pruned":
        with suppress(ValueError, KeyError, TypeError):
            before = datetime.fromisoformat(json.loads(entry.details)["before"])
            return (before.replace(tzinfo=UTC) - _EPOCH).days * DAY
    return 0
