"""The SQLite database file: readable by its owner only, and checked to be the same file while in use."""

from __future__ import annotations

import errno
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE, S_ISREG
from typing import Final, Literal

log = logging.getLogger(__name__)

Missing = Literal["database_gone", "database_replaced"]

_CANNOT: Final = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS}
"""What file systems say that cannot set room aside."""
_OTHERS: Final = 0o077
_BESIDE: Final = ("", "-wal", "-shm", "-journal")
"""What SQLite keeps beside a database. It makes them with the permissions of the database."""


@dataclass(frozen=True, slots=True)
class DatabaseFile:
    """An existing database file, identified by its device and inode, to notice that it was deleted or replaced.

    A connection keeps using such a file, and all that it then writes is lost.
    """

    path: Path
    device: int
    inode: int

    @classmethod
    def at(cls, path: Path) -> DatabaseFile:
        """Identify the file at ``path``. The file and its folder are created if missing, for their owner only.

        If other users may open the file, their access is removed, with a warning. An existing folder is left as it is.

        Raises:
            OSError: The file cannot be created.
        """
        real = Path(os.path.realpath(path))
        try:
            real.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(real.parent)) from None
        # Never open one that is there: to close it again would drop the locks of this process's connections.
        with suppress(FileExistsError):
            os.close(os.open(real, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        for ending in _BESIDE:
            _take_from_others(real.with_name(real.name + ending))
        found = real.stat()
        return cls(real, found.st_dev, found.st_ino)

    def fault(self) -> Missing | None:
        """Whether the file was deleted, or replaced by another one; None if neither."""
        try:
            found = self.path.stat()
        except OSError:
            return "database_gone"
        return None if (found.st_dev, found.st_ino) == (self.device, self.inode) else "database_replaced"


def _take_from_others(path: Path) -> None:
    try:
        mode = path.stat().st_mode
        if not S_ISREG(mode) or not mode & _OTHERS:
            return
        path.chmod(S_IMODE(mode) & ~_OTHERS)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("%s is open to others than its owner, and stays so: %s", path, error.strerror)
    else:
        log.warning("%s was open to others than its owner: now it is for its owner alone", path)


def reserve(descriptor: int, start: int, room: int) -> None:
    """Allocate ``room`` bytes of a file from the offset ``start`` on, so that a later write does not run out of space.

    Raises:
        OSError: There is not enough space.
    """
    try:
        os.posix_fallocate(descriptor, start, room)
    except (AttributeError, OSError) as error:  # macOS has no such call
        if isinstance(error, OSError) and error.errno not in _CANNOT:
            raise
        write_all(descriptor, bytes(room), start)


def write_all(descriptor: int, content: bytes, at: int) -> None:
    """Write all of ``content`` at the offset ``at``, with as many calls as that takes.

    Raises:
        OSError: A write failed.
    """
    left = memoryview(content)
    while left:
        written = os.pwrite(descriptor, left, at)
        left, at = left[written:], at + written
