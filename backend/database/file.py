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

FileFault = Literal["database_gone", "database_replaced"]

_CANNOT: Final = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS}
"""What file systems say that cannot set room aside."""
_OTHERS: Final = 0o077
_BESIDE: Final = ("", "-wal", "-shm", "-journal")
"""What SQLite keeps beside a database. It makes them with the permissions of the database."""


@dataclass(frozen=True, slots=True)
class DatabaseFile:
    """An SQLite file, identified by device and inode. `find_fault` tells whether it was deleted or replaced.

    The check is needed because a connection goes on writing to a deleted file, and what it writes is lost.
    """

    path: Path
    device: int
    inode: int

    @classmethod
    def create_if_missing(cls, path: Path) -> DatabaseFile:
        """Return the file at ``path``. A missing file is created with its folder, readable by its owner only.

        If other users can read or write an existing file, their permissions are removed, with a warning in the
        log. The permissions of an existing folder are not changed.

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

    def find_fault(self) -> FileFault | None:
        """Check that the file is still there.

        Returns ``database_gone``, ``database_replaced``, or None if it is unchanged.
        """
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


def reserve_disk_space(descriptor: int, start: int, size: int) -> None:
    """Allocate disk space for ``size`` bytes of a file, from the offset ``start`` on, for later writes.

    Raises:
        OSError: There is not enough disk space.
    """
    try:
        os.posix_fallocate(descriptor, start, size)
    except (AttributeError, OSError) as error:  # macOS has no such call
        if isinstance(error, OSError) and error.errno not in _CANNOT:
            raise
        write_all_bytes(descriptor, bytes(size), start)


def write_all_bytes(descriptor: int, content: bytes, offset: int) -> None:
    """Write all of ``content`` to the file at ``offset``, even if the system needs several calls for it.

    Raises:
        OSError: A write failed.
    """
    left = memoryview(content)
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written
