"""Records, a store for them that can be away, and what a crash leaves of a spool."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from backend.ledger.store import LedgerStore, RefusedRowError, Spooled, StoreAwayError
from backend.utils.llm.ledger.record import AttemptRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backend.ledger.spool import Spool

RECORD = AttemptRecord(
    call="01a2278b-555e-7237-9e3d-3839395a1dbf",
    number=1,
    at=1_764_423_573_123_456,
    duration=812_345,
    first_byte=412_345,
    first_token=None,
    feature="conv_folder",
    profile="premium",
    endpoint="openai:gpt-6-luna",
    served_model="gpt-6-luna-2026-08-01",
    request_id="req_0123456789abcdef",
    user="ann",
    tenant="acme",
    key_owner="house",
    key="a1b2c3d4e5f60718",
    account=None,
    outcome="ok",
    category=None,
    status=200,
    finish_reason="stop",
    stream=False,
    hedge=False,
    degraded=False,
    input=1_234,
    output=345,
    cached=1_024,
    cache_write=None,
    reasoning=100,
    estimated=False,
    cost=123_456_789_012,
    price_version="genai-prices 0.0.40",
    table_hash="0123456789abcdef",
    arm=None,
    trace=None,
)


def a_record(**said: Any) -> AttemptRecord:
    """A record that says this and that."""
    return RECORD._replace(**said)


class MemoryLedgerStore(LedgerStore):
    """Keeps rows in memory.

    Attributes:
        rows: What it has.
        batches: How many rows it was given, each time that it was there.
        is_away: Whether it is away.
        refuses: Which rows it will never take.
    """

    def __init__(self, refuses: Callable[[Spooled], bool] = lambda _: False) -> None:
        self.rows: dict[tuple[str, int], AttemptRecord] = {}
        self.batches: list[int] = []
        self.is_away = False
        self.refuses = refuses

    async def add(self, rows: Sequence[Spooled]) -> int:
        """See `LedgerStore.add`."""
        if self.is_away:
            raise StoreAwayError
        self.batches.append(len(rows))
        if any(map(self.refuses, rows)):
            raise RefusedRowError
        before = len(self.rows)
        self.rows |= {(row.writer, row.sequence): row.record for row in rows}
        return len(self.rows) - before


def crash(spool: Spool) -> None:
    """Leave of ``spool`` what SIGKILL does: its files, as they are, and no lock."""
    spool._wakes.put("stop")
    if spool._thread is not None:
        spool._thread.join()
    if spool._segment is not None:
        os.close(spool._segment.descriptor)
        spool._segment.descriptor = -1
    if spool._folder is not None:
        spool._folder.lock.let_go()
