"""Ships ledger rows from files into the store: those of this process, and those of all other processes."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from backend.ledger.folders import has_writer, list_spool_folders, lock_backlog
from backend.ledger.lines import encode_line, encode_record_values
from backend.ledger.store import RefusedRowError, StoreUnreachableError
from backend.utils.llm.failures.backoff import backoff_seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from backend.background import BackgroundTaskRunner
    from backend.ledger.folders import FolderBacklog, UnshippedBatch
    from backend.ledger.spool import Spool
    from backend.ledger.store import LedgerStore, SpooledRecord

log = logging.getLogger(__name__)

BATCH_ROWS: Final = 1_000
EVERY_SECONDS: Final = 0.5
"""Seconds between two looks at this process's own spool."""
OTHERS_SECONDS: Final = 2.0
"""Seconds between two looks at the spools of other processes."""
FINISH_SECONDS: Final = 2.0
"""Seconds that a stop may take to ship the remaining rows."""
ADD_SECONDS: Final = 30.0
"""Seconds that the store may take for a batch before it counts as unavailable."""
REFUSED: Final = "refused.log"
"""The file, below the root of the spool, of rows that no store takes, for a person to look at."""


class ShipperState(NamedTuple):
    """The state and counters of a shipper.

    Attributes:
        rows: How many rows were added to the store.
        refused: How many rows the store will never take. They are written to the file `REFUSED`.
        damaged: How many damaged lines were skipped.
        away_since: Since when the store is unreachable, in seconds since 1970; None if it is reachable.
    """

    rows: int = 0
    refused: int = 0
    damaged: int = 0
    away_since: float | None = None


class Shipper:
    """Moves the ledger rows in the spool folders of all processes to the store. Each process runs a shipper.

    Args:
        spool: This process's own spool, which is shipped first. Its root has the folders of all processes.
        store: The store. It must ignore rows that it already has, because a row may be sent again.
        clock: The monotonic clock, in seconds.
        now: The wall clock, in seconds since 1970.
        chance: Returns a random number from 0 to below 1, for the jitter of retries.
    """

    def __init__(
        self,
        spool: Spool,
        store: LedgerStore,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._spool = spool
        self._store = store
        self._clock = clock
        self._now = now
        self._chance = chance
        self._fails = 0
        self._again = self._others = float("-inf")
        self._shipped = 0
        """How many records the spool had been given when it was last shipped."""
        self.stats = ShipperState()

    @asynccontextmanager
    async def run_in_background(self, background: BackgroundTaskRunner) -> AsyncIterator[None]:
        """Ship rows repeatedly while the context lasts, and at its end all remaining rows within `FINISH_SECONDS`."""
        await asyncio.to_thread(self._spool.open)
        try:
            async with background.run_repeatedly("ledger", self.ship, interval_s=EVERY_SECONDS):
                yield
        finally:
            await self.ship_remaining(FINISH_SECONDS)

    async def ship(self) -> None:
        """Ship new rows, if there are any and it is time. Call it again and again.

        While the store is unreachable, the pauses between tries become longer; calls during a pause do nothing.
        """
        if self._clock() < self._again:
            return
        if self._spool.stats.appended == self._shipped and self._clock() < self._others:
            return  # nothing new
        with suppress(StoreUnreachableError):
            await self._ship_each(await asyncio.to_thread(self._due))

    async def ship_remaining(self, seconds: float) -> bool:
        """Ship all remaining rows at shutdown, within ``seconds``.

        Returns False if rows are left; they are shipped after the next start.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._ship_each(await asyncio.to_thread(list_spool_folders, self._spool.root))
        except (StoreUnreachableError, OSError):  # one of which is a time-out
            log.warning("ledger.not_shipped_yet path=%s", self._spool.root)
            return False
        return True

    def _due(self) -> list[Path]:
        own = self._spool.folder
        if self._clock() >= self._others:
            self._others = self._clock() + OTHERS_SECONDS
            return sorted(list_spool_folders(self._spool.root), key=lambda folder: folder != own)
        return [] if own is None else [own]

    async def _ship_each(self, those: Sequence[Path]) -> None:
        """Ship the spools in ``those``, as far as they can be read.

        Raises:
            OSError: A spool cannot be read.
        """
        fault: OSError | None = None
        for folder in those:
            try:
                await self._ship_folder(folder)
            except OSError as error:
                fault = error
        if fault is not None:
            raise fault

    async def _ship_folder(self, folder: Path) -> None:
        appended = self._spool.stats.appended
        is_over = not await asyncio.to_thread(has_writer, folder)  # asked before the last of it is read
        with lock_backlog(folder) as backlog:
            if backlog is None:
                return
            await self._ship_backlog(backlog)
            if is_over:
                await asyncio.to_thread(backlog.delete_folder)
        if folder == self._spool.folder:
            self._shipped = appended

    async def _ship_backlog(self, backlog: FolderBacklog) -> None:
        """Ship all of ``backlog``. While the store processes a batch, the next one is read."""
        batch = await asyncio.to_thread(backlog.read_batch, BATCH_ROWS)
        while batch.end != backlog.mark:
            ahead = asyncio.ensure_future(asyncio.to_thread(backlog.read_batch, BATCH_ROWS, batch.end))
            try:
                await self._ship_batch(backlog, batch)
            finally:
                batch = await ahead

    async def _ship_batch(self, backlog: FolderBacklog, batch: UnshippedBatch) -> None:
        if batch.rows:
            await self._add(batch.rows)
        is_next = batch.end.segment != backlog.mark.segment
        backlog.mark_shipped(batch.end)
        self._count(damaged=batch.damaged)
        if is_next:
            await asyncio.to_thread(backlog.delete_shipped_segments)

    async def _add(self, rows: Sequence[SpooledRecord]) -> None:
        """Add ``rows``, except rows that the store refuses, which are set aside."""
        try:
            async with asyncio.timeout(ADD_SECONDS):
                await self._store.add(rows)
        except RefusedRowError:
            if len(rows) == 1:
                await asyncio.to_thread(self._set_aside, rows[0])
                return
            half = len(rows) // 2
            await self._add(rows[:half])
            await self._add(rows[half:])
        except (StoreUnreachableError, TimeoutError) as error:
            self._rest()
            raise StoreUnreachableError from error
        else:
            self._count(rows=len(rows))
            self._work()

    def _rest(self) -> None:
        self._fails += 1
        self._again = self._clock() + backoff_seconds(self._fails, None, self._chance)
        if self.stats.away_since is None:
            self.stats = self.stats._replace(away_since=self._now())
            log.error("ledger.store_away: rows are kept in %s, and shipped when it is back", self._spool.root)

    def _work(self) -> None:
        self._fails = 0
        if (since := self.stats.away_since) is not None:
            self.stats = self.stats._replace(away_since=None)
            log.warning("ledger.store_back after_seconds=%.0f", self._now() - since)

    def _count(self, *, rows: int = 0, refused: int = 0, damaged: int = 0) -> None:
        old = self.stats
        self.stats = old._replace(
            rows=old.rows + rows, refused=old.refused + refused, damaged=old.damaged + damaged
        )
        if damaged:
            log.error("ledger.lines_damaged lines=%d: the sequence of their writer has gaps", damaged)

    def _set_aside(self, row: SpooledRecord) -> None:
        path = self._spool.root / REFUSED
        text = encode_line(row.writer.encode(), row.sequence, encode_record_values(row.record))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, text)
        finally:
            os.close(descriptor)
        self._count(refused=1)
        log.error(
            "ledger.row_refused writer=%s sequence=%d: it is set aside in %s", row.writer, row.sequence, path
        )
