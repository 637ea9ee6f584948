"""A process's folder of ledger files (segments), with a mark that tells up to where they are shipped.

The process locks the folder while it writes there; the shipper locks the mark. Both locks end with their process. A
segment is complete when a later one has content, or when nobody writes to the folder any more.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from typing_extensions import override
from uuid_utils import uuid7

from backend.ledger.segments import is_at, is_filled, read_segment
from backend.utils.llm.forks import PerProcess, cut_off, unforked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backend.ledger.store import Spooled

_MARK: Final = "shipped"
_NAME: Final = re.compile(r"[0-9a-f]{32}")
_SEGMENT: Final = re.compile(r"\d{8}\.log")
_MARKED: Final = re.compile(rb"(\d{8}\.log) (\d{16})\n")
_LONGEST_MARK: Final = 64
_CLOSED: Final = -1


class Lock(PerProcess):
    """An exclusive lock on a file or folder, held until it is released or the process ends. Not inherited by a forked child.

    Raises:
        BlockingIOError: The lock is held elsewhere.
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path, flags: int = os.O_RDONLY) -> None:
        self.descriptor = _CLOSED
        super().__init__()
        with unforked():
            self.descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self.release()
                raise

    @override
    def _begin(self) -> None:
        cut_off([self.descriptor])
        self.descriptor = _CLOSED

    def release(self) -> None:
        """Release the lock."""
        descriptor, self.descriptor = self.descriptor, _CLOSED
        if descriptor != _CLOSED:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # whoever else has the descriptor
            os.close(descriptor)


class Folder(NamedTuple):
    """The folder to which this process writes its segments, with the lock on it."""

    path: Path
    lock: Lock

    @classmethod
    def make(cls, root: Path) -> Folder:
        """Create a folder below ``root``, which is created too if it is missing; both with mode 0700.

        Raises:
            OSError: The folder cannot be created.
        """
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = root / uuid7().hex
        unnamed = root / f".{path.name}"  # nobody looks at it before it is locked
        unnamed.mkdir(mode=0o700)
        lock = Lock(unnamed)
        try:
            unnamed.rename(path)
        except OSError:
            lock.release()
            raise
        return cls(path, lock)

    def is_there(self) -> bool:
        """Whether the folder still exists at its path, where shippers look for it."""
        return is_at(self.path, self.lock.descriptor)

    def segment(self, number: int) -> Path:
        """The path of segment ``number``."""
        return self.path / f"{number:08d}.log"


def folders(root: Path) -> list[Path]:
    """List the processes' folders below ``root``, the oldest first."""
    try:
        return sorted(root / name for name in os.listdir(root) if _NAME.fullmatch(name))  # noqa: PTH208 - twice as fast
    except OSError:
        return []


def size(root: Path) -> int:
    """Add up the sizes of all files below ``root``, in bytes."""
    found = 0
    for folder, _, names in os.walk(root):
        for name in names:
            with suppress(OSError):
                found += os.stat(os.path.join(folder, name)).st_size  # noqa: PTH116, PTH118 - of a thousand files
    return found


def is_written(folder: Path) -> bool:
    """Whether a process may still be writing to ``folder``."""
    try:
        lock = Lock(folder)
    except BlockingIOError:
        return True
    except OSError:
        return False
    lock.release()
    return False


class ShippedMark(NamedTuple):
    """How far a folder's rows have reached the store.

    Attributes:
        segment: The name of the segment; empty if nothing is shipped.
        offset: The number of shipped bytes of that segment.
    """

    segment: str = ""
    offset: int = 0


class Batch(NamedTuple):
    """The next unshipped rows of a folder.

    Attributes:
        rows: The rows.
        end: The mark to store when the rows are shipped.
        damaged: How many damaged lines were skipped.
    """

    rows: list[Spooled]
    end: ShippedMark
    damaged: int


class Backlog:
    """Reads the unshipped rows of one folder, and records how far they are shipped. One process at a time holds it."""

    def __init__(self, folder: Path, lock: Lock) -> None:
        self._folder = folder
        self._lock = lock
        self.mark = _mark(os.pread(lock.descriptor, _LONGEST_MARK, 0))

    def read(self, most: int, after: ShippedMark | None = None) -> Batch:
        """Read at most ``most`` rows after the position ``after``; no rows if the folder is gone.

        Args:
            most: The most rows.
            after: Where to begin; None for the stored mark.
        """
        rows: list[Spooled] = []
        end, damaged = after or self.mark, 0
        names = [name for name in _names(self._folder) if name >= end.segment]
        for place, name in enumerate(names, 1):
            path = self._folder / name
            # Asked before it is read: what is written to a segment stands in it before a later one has content.
            is_complete = any(is_filled(self._folder / later) for later in names[place:])
            is_marked = name == end.segment and end.offset <= _size(path)  # what is beyond the end was lost
            start = end.offset if is_marked else 0
            try:
                found = read_segment(path, start, most - len(rows))
            except FileNotFoundError:
                break
            rows += found.rows
            damaged += found.damaged
            end = ShippedMark(name, start + found.size)
            if not (found.is_all and is_complete) or len(rows) >= most:
                break
        return Batch(rows, end, damaged)

    def advance(self, end: ShippedMark) -> None:
        """Record that rows are shipped up to ``end``.

        Raises:
            OSError: The mark cannot be written.
        """
        os.pwrite(self._lock.descriptor, b"%b %016d\n" % (end.segment.encode(), end.offset), 0)
        self.mark = end

    def prune(self) -> None:
        """Delete the segments that are shipped completely."""
        for name in _names(self._folder):
            if name < self.mark.segment:
                (self._folder / name).unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the folder. Call it only when all is shipped and no process writes there any more."""
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def claimed_backlog(folder: Path) -> Iterator[Backlog | None]:
    """Lock ``folder`` for reading while the context lasts; None if another process has locked it, or it is gone."""
    try:
        lock = Lock(folder / _MARK, os.O_RDWR | os.O_CREAT)
    except (BlockingIOError, FileNotFoundError):
        yield None
        return
    try:
        yield Backlog(folder, lock)
    finally:
        lock.release()


def _mark(written: bytes) -> ShippedMark:
    """The mark in ``written``. If it was not written completely, rows are shipped again, which the store ignores."""
    found = _MARKED.fullmatch(written)
    return ShippedMark(found[1].decode(), int(found[2])) if found else ShippedMark()


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if _SEGMENT.fullmatch(name))  # noqa: PTH208
    except OSError:
        return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
