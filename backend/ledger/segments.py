"""The segment files of a spool.

One process appends lines to a segment until it is large enough, then begins the next.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from backend.ledger.lines import DecodedRecords, decode_lines, read_value_names
from backend.utils.llm.forks import disconnect_inherited_descriptors

if TYPE_CHECKING:
    from pathlib import Path

_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_CANNOT: Final = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS}
"""What file systems say that cannot set room aside."""
_FIRST_LINE: Final = 8_192
"""Bytes, and more than it has."""
_sync: Final = getattr(os, "fdatasync", os.fsync)  # macOS has no such call


class SegmentFile:
    """A file of a spool to which one process appends lines. The rest of its allocated space contains zeros.

    The space is allocated in advance, because a write that enlarges a file waits for a running sync, for 5
    ms or longer on a busy disk.

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
        """Append complete lines. They survive a crash of the process, and after `sync` also a loss of power.

        Raises:
            OSError: The disk has no room for all lines; then none of them is appended.
        """
        if not self.size:
            lines = self._heading + lines
        written = os.pwrite(self.descriptor, lines, self.size)
        if written != len(lines):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += written

    def copy_missing_lines(self, other: SegmentFile) -> None:
        """Append those lines of ``other`` that this file lacks. Both files must begin with the same lines.

        Raises:
            OSError: A file cannot be read or written.
        """
        if other.size > self.size:
            self.write(os.pread(other.descriptor, other.size - self.size, self.size))

    def sync(self) -> None:
        """Sync the file to disk, so that its lines survive a loss of power.

        Raises:
            OSError: The sync failed; the lines may or may not survive.
        """
        _sync(self.descriptor)
        if not self._is_entered:
            _sync_folder(self.path.parent)
            _sync_folder(self.path.parent.parent)
            self._is_entered = True

    def still_exists(self) -> bool:
        """Whether the file is still at its path. If not, shippers cannot find it."""
        return is_same_file(self.path, self.descriptor)

    def close(self) -> None:
        """Close the file. An incomplete last line is cut off; a file without lines is deleted."""
        descriptor, self.descriptor = self.descriptor, -1
        with suppress(OSError):
            os.ftruncate(descriptor, self.size)
            _sync(descriptor)
        with suppress(OSError):
            if not self.size:
                self.path.unlink()
        os.close(descriptor)

    def close_in_child(self) -> None:
        """Close the inherited file descriptor in a forked child. The parent's file is not changed."""
        descriptor, self.descriptor = self.descriptor, -1
        disconnect_inherited_descriptors([descriptor])


def is_same_file(path: Path, descriptor: int) -> bool:
    """Whether the file at ``path`` is still the one opened as ``descriptor``, not deleted or replaced."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False


def read_segment(path: Path, start: int, max_lines: int) -> DecodedRecords:
    """Read up to ``max_lines`` lines of the segment file at ``path``, beginning at the byte ``start``.

    Raises:
        OSError: The file cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.pread(descriptor, max(0, os.fstat(descriptor).st_size - start), start)
        return decode_lines(content, max_lines, read_value_names(os.pread(descriptor, _FIRST_LINE, 0)))
    finally:
        os.close(descriptor)


def has_lines(path: Path) -> bool:
    """Whether the segment file at ``path`` has any lines. False if it cannot be read."""
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
