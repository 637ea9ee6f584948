"""A store of the ledger that can be away, and what a crash leaves of a spool."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from backend.ledger.store import LedgerStore, RefusedRowError, SpooledRecord, StoreUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backend.ledger.spool import Spool
    from backend.utils.llm.ledger.record import AttemptRecord


class MemoryLedgerStore(LedgerStore):
    """Keeps rows in memory.

    Attributes:
        rows: What it has.
        batches: How many rows it was given, each time that it was there.
        is_away: Whether it is away.
        refuses: Which rows it will never take.
    """

    def __init__(self, refuses: Callable[[SpooledRecord], bool] = lambda _: False) -> None:
        self.rows: dict[tuple[str, int], AttemptRecord] = {}
        self.batches: list[int] = []
        self.is_away = False
        self.refuses = refuses

    async def add(self, rows: Sequence[SpooledRecord]) -> int:
        """See `LedgerStore.add`."""
        if self.is_away:
            raise StoreUnreachableError
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
        spool._folder.lock.release()
