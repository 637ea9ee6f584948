"""The folder of ledger files (segments) of one process, with a mark up to which its rows were shipped.

The process locks the folder while it writes there; the shipper locks the mark. Both locks end with their
process. A segment is complete when a later segment has content, or when no process writes to the folder
any more.
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

from backend.ledger.segments import has_lines, is_same_file, read_segment
from backend.utils.llm.forks import ForkSafe, delay_forks, disconnect_inherited_descriptors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backend.ledger.store import SpooledRecord

_MARK: Final = "shipped"
_NAME: Final = re.compile(r"[0-9a-f]{32}")
_SEGMENT: Final = re.compile(r"\d{8}\.log")
_MARKED: Final = re.compile(rb"(\d{8}\.log) (\d{16})\n")
_LONGEST_MARK: Final = 64
_CLOSED: Final = -1


class FileLock(ForkSafe):
    """An exclusive lock on a file or folder, held until it is released or the process ends.

    A forked child does not inherit it.

    Raises:
        BlockingIOError: The lock is held already, by this or another process.
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path, flags: int = os.O_RDONLY) -> None:
        self.descriptor = _CLOSED
        super().__init__()
        with delay_forks():
            self.descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self.release()
                raise

    @override
    def _begin(self) -> None:
        disconnect_inherited_descriptors([self.descriptor])
        self.descriptor = _CLOSED

    def release(self) -> None:
        """Release the lock."""
        descriptor, self.descriptor = self.descriptor, _CLOSED
        if descriptor != _CLOSED:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # whoever else has the descriptor
            os.close(descriptor)


class SpoolFolder(NamedTuple):
    """The folder to which this process writes its segment files, and the lock on the folder."""

    path: Path
    lock: FileLock

    @classmethod
    def create(cls, root: Path) -> SpoolFolder:
        """Create a new, locked folder below ``root``, and ``root`` itself if it is missing. Both have mode 0700.

        Raises:
            OSError: The folder cannot be created.
        """
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = root / uuid7().hex
        unnamed = root / f".{path.name}"  # nobody looks at it before it is locked
        unnamed.mkdir(mode=0o700)
        lock = FileLock(unnamed)
        try:
            unnamed.rename(path)
        except OSError:
            lock.release()
            raise
        return cls(path, lock)

    def still_exists(self) -> bool:
        """Whether the folder is still at its path. If not, shippers cannot find it."""
        return is_same_file(self.path, self.lock.descriptor)

    def segment_path(self, number: int) -> Path:
        """Return the path of the segment file with this ``number``."""
        return self.path / f"{number:08d}.log"


def list_spool_folders(root: Path) -> list[Path]:
    """List the spool folders of all processes, the oldest first; empty if ``root`` cannot be read."""
    try:
        return sorted(root / name for name in os.listdir(root) if _NAME.fullmatch(name))  # noqa: PTH208 - twice as fast
    except OSError:
        return []


def total_bytes(root: Path) -> int:
    """Return the total size of all files below ``root``, in bytes."""
    found = 0
    for folder, _, names in os.walk(root):
        for name in names:
            with suppress(OSError):
                found += os.stat(os.path.join(folder, name)).st_size  # noqa: PTH116, PTH118 - of a thousand files
    return found


def has_writer(folder: Path) -> bool:
    """Whether a process may still write to ``folder``, because a process holds the folder's lock."""
    try:
        lock = FileLock(folder)
    except BlockingIOError:
        return True
    except OSError:
        return False
    lock.release()
    return False


class ShippedPosition(NamedTuple):
    """The position in a spool folder up to which its rows were added to the store.

    Attributes:
        segment: The name of the segment file at this position; empty if no rows were added yet.
        offset: How many bytes of this file were added.
    """

    segment: str = ""
    offset: int = 0


class UnshippedBatch(NamedTuple):
    """The next rows of a spool folder to add to the store.

    Attributes:
        rows: The rows.
        end: The position after these rows, to store once they are added.
        damaged: How many damaged lines were skipped.
    """

    rows: list[SpooledRecord]
    end: ShippedPosition
    damaged: int


class FolderBacklog:
    """Reads the rows of one spool folder that are not in the store yet, and stores how far they were shipped.

    Get it from `lock_backlog`, so that only one process has it for a folder.

    Attributes:
        mark: The position up to which rows were shipped.
    """

    def __init__(self, folder: Path, lock: FileLock) -> None:
        self._folder = folder
        self._lock = lock
        self.mark = _mark(os.pread(lock.descriptor, _LONGEST_MARK, 0))

    def read_batch(self, max_rows: int, after: ShippedPosition | None = None) -> UnshippedBatch:
        """Read at most ``max_rows`` rows after the position ``after``; None begins at the stored position.

        There are no rows if the folder no longer exists.
        """
        rows: list[SpooledRecord] = []
        end, damaged = after or self.mark, 0
        names = [name for name in _names(self._folder) if name >= end.segment]
        for place, name in enumerate(names, 1):
            path = self._folder / name
            # Asked before it is read: what is written to a segment stands in it before a later one has content.
            is_complete = any(has_lines(self._folder / later) for later in names[place:])
            is_marked = name == end.segment and end.offset <= _size(path)  # what is beyond the end was lost
            start = end.offset if is_marked else 0
            try:
                found = read_segment(path, start, max_rows - len(rows))
            except FileNotFoundError:
                break
            rows += found.rows
            damaged += found.damaged
            end = ShippedPosition(name, start + found.size)
            if not (found.is_all and is_complete) or len(rows) >= max_rows:
                break
        return UnshippedBatch(rows, end, damaged)

    def mark_shipped(self, end: ShippedPosition) -> None:
        """Store that rows were shipped up to the position ``end``.

        Raises:
            OSError: The position cannot be written.
        """
        os.pwrite(self._lock.descriptor, b"%b %016d\n" % (end.segment.encode(), end.offset), 0)
        self.mark = end

    def delete_shipped_segments(self) -> None:
        """Delete the segment files whose rows were all shipped."""
        for name in _names(self._folder):
            if name < self.mark.segment:
                (self._folder / name).unlink(missing_ok=True)

    def delete_folder(self) -> None:
        """Delete the folder. Call it only once all rows were shipped and no process writes to the folder any more."""
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def lock_backlog(folder: Path) -> Iterator[FolderBacklog | None]:
    """Let only this process ship the rows of ``folder`` while the context lasts.

    Yields None if another process ships them, or if the folder no longer exists.
    """
    try:
        lock = FileLock(folder / _MARK, os.O_RDWR | os.O_CREAT)
    except (BlockingIOError, FileNotFoundError):
        yield None
        return
    try:
        yield FolderBacklog(folder, lock)
    finally:
        lock.release()


def _mark(written: bytes) -> ShippedPosition:
    """The mark in ``written``. If it was not written completely, rows are shipped again, which the store ignores."""
    found = _MARKED.fullmatch(written)
    return ShippedPosition(found[1].decode(), int(found[2])) if found else ShippedPosition()


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
