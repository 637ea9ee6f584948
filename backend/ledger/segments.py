"""The segment files of a spool: appended to by one process, until they are large enough."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from backend.ledger.lines import ReadRecords, names_in, read
from backend.utils.llm.forks import cut_off

if TYPE_CHECKING:
    from pathlib import Path

_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_CANNOT: Final = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS}
"""What file systems say that cannot set room aside."""
_FIRST_LINE: Final = 8_192
"""Bytes, and more than it has."""
_sync: Final = getattr(os, "fdatasync", os.fsync)  # macOS has no such call


class Segment:
    """A file that is appended to. Beyond its lines it holds only zeros.

    Its space is allocated in advance: a write that extends a file waits for a running sync, 5 ms or longer on a busy disk.

    Attributes:
        path: The path at which it was created.
        descriptor: The open file descriptor; negative once closed.
        size: The number of bytes of complete lines.
    """

    def __init__(self, path: Path, room: int, heading: bytes = b"") -> None:
        """Create the file, readable by its owner only.

        Args:
            path: The path of the file.
            room: The bytes to allocate. The file may grow beyond.
            heading: The content before the first line.

        Raises:
            OSError: The file cannot be created.
        """
        self.path = path
        self.descriptor = os.open(path, _NEW, 0o600)
        self.size = 0
        self._heading = heading
        self._is_entered = False
        try:
            _set_aside(self.descriptor, room)
        except OSError:
            self.close()
            raise

    def write(self, lines: bytes) -> None:
        """Append whole lines, which survive a crash of the process.

        Raises:
            OSError: There is no room for all lines; then none of them counts.
        """
        if not self.size:
            lines = self._heading + lines
        written = os.pwrite(self.descriptor, lines, self.size)
        if written != len(lines):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += written

    def copy(self, other: Segment) -> None:
        """Append the lines that ``other`` has and this segment lacks. Both begin with the same lines.

        Raises:
            OSError: A file cannot be read or written.
        """
        if other.size > self.size:
            self.write(os.pread(other.descriptor, other.size - self.size, self.size))

    def sync(self) -> None:
        """Sync the file, so that its lines survive a loss of power.

        Raises:
            OSError: The sync failed; the lines may or may not survive.
        """
        _sync(self.descriptor)
        if not self._is_entered:
            _sync_folder(self.path.parent)
            _sync_folder(self.path.parent.parent)
            self._is_entered = True

    def is_there(self) -> bool:
        """Whether the file still exists at its path, where shippers look for it."""
        return is_at(self.path, self.descriptor)

    def close(self) -> None:
        """Close the file: cut off an incomplete last line, and delete an empty file."""
        descriptor, self.descriptor = self.descriptor, -1
        with suppress(OSError):
            os.ftruncate(descriptor, self.size)
            _sync(descriptor)
        with suppress(OSError):
            if not self.size:
                self.path.unlink()
        os.close(descriptor)

    def cut_off(self) -> None:
        """In a forked child, close the copy of the descriptor. The file stays as the parent left it."""
        descriptor, self.descriptor = self.descriptor, -1
        cut_off([descriptor])


def is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file of ``descriptor`` is still the file at ``path``, and was not deleted or replaced."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False


def read_segment(path: Path, start: int, most: int) -> ReadRecords:
    """Read up to ``most`` lines of the segment at ``path``, from the byte ``start`` on.

    Raises:
        OSError: The segment cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.pread(descriptor, max(0, os.fstat(descriptor).st_size - start), start)
        return read(content, most, names_in(os.pread(descriptor, _FIRST_LINE, 0)))
    finally:
        os.close(descriptor)


def is_filled(path: Path) -> bool:
    """Whether anything was written to the segment at ``path``; False if it cannot be read."""
    try:
        with path.open("rb") as segment:
            return segment.read(1) not in {b"", b"\0"}
    except OSError:
        return False


def _set_aside(descriptor: int, room: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, room)
    except AttributeError:  # macOS has no such call
        return
    except OSError as error:
        if error.errno not in _CANNOT:
            raise


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
