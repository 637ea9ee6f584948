"""Writes records of attempts to files: safe from a crash at once, from a loss of power after some 5 ms.

The calling thread only writes one line to an open file. A background thread does the rest: it syncs
lines to disk, begins the next file, and retries lines that could not be written, which wait in memory
meanwhile.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections import deque
from contextlib import suppress
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from typing_extensions import override
from uuid_utils import uuid7

from backend.ledger.folders import SpoolFolder, total_bytes
from backend.ledger.lines import encode_header_line, encode_line, encode_record_values
from backend.ledger.segments import SegmentFile
from backend.utils.llm.forks import ForkSafe

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from backend.utils.llm.ledger.record import AttemptRecord

log = logging.getLogger(__name__)

SYNC_SECONDS: Final = 0.005
"""Seconds from writing a line to the beginning of its sync to disk."""
SYNC_ROWS: Final = 64
"""The number of lines after which a sync begins at once."""
AGAIN_SECONDS: Final = 1.0
"""Seconds between two tries when lines cannot be written."""
PATIENCE_SECONDS: Final = 5.0
"""Seconds that closing waits for the thread, which may be waiting for a disk."""
_FULL: Final = 0.9
"""The share of a segment at which the next one begins: while that is made, there is room for some more."""
_STOP: Final = "stop"


class SpoolLimits(NamedTuple):
    """The size limits of a spool.

    Attributes:
        on_disk: The most bytes that the files of all processes may use. Each process may exceed it by one
            segment.
        segment: The size of a segment file in bytes, allocated when it is created.
        in_memory: The most rows that wait in memory while they cannot be written. Further rows are lost.
    """

    on_disk: int = 1024**3
    segment: int = 1024**2
    in_memory: int = 10_000


class SpoolStats(NamedTuple):
    """Counters of this process's spool, for health checks and the console.

    Attributes:
        appended: How many records were appended.
        waiting: How many records are only in memory, because they could not be written yet.
        lost: How many records were dropped. Their numbers are missing from the process's sequence.
        fault: Why records cannot be written now; None if they can.
    """

    appended: int
    waiting: int
    lost: int
    fault: str | None


class Spool(ForkSafe):
    """A `LedgerSink` that writes records to files, from which a `Shipper` adds them to the store. Thread-safe.

    Each process, also a forked child, writes to a folder of its own. A full disk or a deleted folder raises
    no exception: rows wait in memory until they can be written, and the log and `stats` show this.

    Args:
        root: The folder that contains the folders of all processes, on a local file system.
        bounds: The size limits; None for the default ones.
    """

    def __init__(self, root: Path, bounds: SpoolLimits | None = None) -> None:
        self.root = root
        self._bounds = bounds or SpoolLimits()
        super().__init__()

    @override
    def _begin(self) -> None:
        parents: SegmentFile | None = vars(self).get("_segment")
        if parents is not None:
            parents.close_in_child()
        self._lock = threading.RLock()  # the finaliser of a stream may append in the midst of an append
        self._tending = threading.Lock()
        self._wakes: SimpleQueue[str] = SimpleQueue()
        self._lost = self._lost_before = self._appended = 0
        self._be_new()

    def _be_new(self) -> None:
        """Become a new writer, which has written nothing."""
        self.writer = uuid7().hex
        self._name = self.writer.encode()
        self._heading = encode_header_line(self._name)
        self._folder: SpoolFolder | None = None
        self._segment: SegmentFile | None = None
        self._thread: threading.Thread | None = None
        self._is_open = False
        self._sequence = self._segments = self._unsynced = 0
        self._waiting: deque[bytes] = deque()
        self._fault: OSError | None = None
        self._reported_stats = SpoolStats(0, 0, self._lost, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def folder(self) -> Path | None:
        """The folder to which this process writes; None before its first record."""
        folder = self._folder
        return folder and folder.path

    @property
    def stats(self) -> SpoolStats:
        """The spool's current counters."""
        with self._lock:
            fault = self._fault
            return SpoolStats(
                self._appended,
                len(self._waiting),
                self._lost,
                None if fault is None else str(fault.strerror or fault),
            )

    def open(self) -> None:
        """Create the folder and start the background thread now, so that the first record does not wait for them."""
        with self._lock:
            if not self._is_open:
                self._is_open = True
                self._start()

    def append(self, record: AttemptRecord) -> None:
        """Write ``record`` to the spool. Raises nothing if this fails.

        The record then waits in memory until it can be written; it is lost if too many wait already.
        """
        values = encode_record_values(record)
        with self._lock:
            if not self._is_open:
                self.open()
            self._appended += 1
            self._sequence += 1
            self._write(encode_line(self._name, self._sequence, values))
            self._unsynced += 1
            if self._unsynced in {1, SYNC_ROWS}:
                self._wakes.put("")

    def close(self) -> None:
        """Write the rows that wait in memory, and stop the background thread.

        A later `append` opens the spool again, with a new writer id.
        """
        thread = self._thread
        if thread is not None:
            self._wakes.put(_STOP)
            thread.join(PATIENCE_SECONDS)
        self.run_maintenance()
        with self._lock:
            segment, folder, left = self._segment, self._folder, len(self._waiting)
            self._lost += left
            self._be_new()
        if left:
            log.error("ledger.rows_lost rows=%d: there was no room for them until the end", left)
        if segment is not None:
            segment.close()
        if folder is not None:
            folder.lock.release()

    def _start(self) -> None:
        thread = threading.Thread(target=self._tend_always, args=(self._wakes,), daemon=True, name="spool")
        with suppress(RuntimeError):  # the interpreter is ending: no thread can be started
            thread.start()
            self._thread = thread
        try:
            self._segment = self._next_segment()
        except OSError as error:
            self._fault = error

    def _write(self, text: bytes) -> None:
        if self._segment is not None and self._fault is None:
            try:
                self._segment.write(text)
            except OSError as error:
                self._fault = error
            else:
                return
        if len(self._waiting) < self._bounds.in_memory:
            self._waiting.append(text)
        else:
            self._lost += 1

    def _tend_always(self, wakes: SimpleQueue[str]) -> None:
        while _next(wakes, AGAIN_SECONDS if self._is_faulty() else None) != _STOP:
            if not self._is_faulty() and _next(wakes, SYNC_SECONDS) == _STOP:
                return
            self.run_maintenance()

    def _is_faulty(self) -> bool:
        return self._fault is not None or bool(self._waiting)

    def run_maintenance(self) -> None:
        """Do the background work once: retry failed writes, sync to disk, and begin the next segment if it is time."""
        with self._tending:
            self._tend()

    def _tend(self) -> None:
        try:
            self._restore()
            self._recover()
            self._sync()
            self._rotate()
        except OSError as error:
            with self._lock:
                self._fault = error
        except Exception:
            log.exception("ledger.spool_failed writer=%s", self.writer)
        self._tell()

    def _sync(self) -> None:
        with self._lock:
            self._unsynced, segment = 0, self._segment
        if segment is not None:
            segment.sync()

    def _restore(self) -> None:
        """If the file is no longer at its path, write its content to a new one."""
        gone, folder = self._segment, self._folder
        if gone is None or folder is None or gone.still_exists():
            return
        if not folder.still_exists():
            self._folder = None
            folder.lock.release()
        copy = self._next_segment(heading=b"")
        try:
            copy.copy_missing_lines(gone)  # most of it, while others append
            with self._lock:
                copy.copy_missing_lines(gone)
                self._segment = copy
        except OSError:
            copy.close()
            raise
        log.error("ledger.segment_gone path=%s: what was in it is written again", gone.path)
        gone.close()

    def _recover(self) -> None:
        """Write the rows that wait in memory."""
        if not self._is_faulty():
            return
        fresh = self._next_segment()
        try:
            while self._is_drained_into(fresh):
                pass
        except OSError:
            fresh.close()
            raise

    def _is_drained_into(self, fresh: SegmentFile) -> bool:
        """Write some of the waiting rows to ``fresh``, and return True; if none waits, make ``fresh`` the present file, and return False."""
        with self._lock:
            some = list(islice(self._waiting, SYNC_ROWS))
            if some:
                fresh.write(b"".join(some))
                for _ in some:
                    self._waiting.popleft()
                return True
            old, self._segment, self._fault = self._segment, fresh, None
        if old is not None:
            old.close()
        return False

    def _rotate(self) -> None:
        """Begin the next file, if the present one is large enough."""
        if self._segment is None or self._segment.size < self._bounds.segment * _FULL:
            return
        fresh = self._next_segment()
        with self._lock:
            old, self._segment = self._segment, fresh
        old.close()

    def _next_segment(self, heading: bytes | None = None) -> SegmentFile:
        """A new file, in a new folder if there is none.

        Raises:
            OSError: The file cannot be created, or the spool is full.
        """
        if (used := total_bytes(self.root)) + self._bounds.segment > self._bounds.on_disk:
            raise OSError(errno.ENOSPC, f"the spool is full, {used} bytes are not shipped")
        if self._folder is None:
            self._folder = SpoolFolder.create(self.root)
        self._segments += 1
        path = self._folder.segment_path(self._segments)
        return SegmentFile(path, self._bounds.segment, self._heading if heading is None else heading)

    def _tell(self) -> None:
        """Log a change of the spool's state, once."""
        before, now = self._reported_stats, self.stats
        self._reported_stats, most = now, self._bounds.in_memory
        if now.fault is not None and before.fault is None:
            log.error(
                "ledger.spool_fault path=%s: %s; %d rows can wait in memory", self.root, now.fault, most
            )
        if now.lost > before.lost == self._lost_before:
            log.error("ledger.rows_lost path=%s: more than %d wait in memory", self.root, most)
        if now.fault is None and before.fault is not None:
            log.warning("ledger.spool_well path=%s rows_lost=%d", self.root, now.lost - self._lost_before)
            self._lost_before = now.lost


def _next(wakes: SimpleQueue[str], timeout: float | None) -> str:
    try:
        return wakes.get(timeout=timeout)
    except Empty:
        return ""
