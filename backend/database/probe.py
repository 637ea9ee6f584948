"""Health check of the database: whether it can be read and written, on a connection of its own."""

from __future__ import annotations

import errno
import sqlite3
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from backend.database.file import DatabaseFile, reserve_disk_space
from backend.database.tables import Base
from backend.single_flight import SingleFlight
from backend.utils.llm.execution.own_thread import run_in_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WAIT: Final = 1.0
"""Seconds after which a probe answers, whatever the database does."""
FRESH: Final = 0.5
"""Seconds for which an answer is cached."""
SMALL: Final = 4 * 1024 * 1024
"""The most bytes of a database that is read whole, in some milliseconds. Of a larger one, only each table's head is."""
ROOM: Final = 1024 * 1024
"""The bytes that must be free on the disk: as much as a conversation takes, unless it is long."""
_BUSY: Final = 0.5
_FAULTS_OF_DISKS: Final = {
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
    errno.EFBIG: "disk_full",
    errno.EROFS: "database_read_only",
    errno.EACCES: "database_read_only",
}
_REASONS: Final = {
    sqlite3.SQLITE_BUSY: "database_locked",
    sqlite3.SQLITE_LOCKED: "database_locked",
    sqlite3.SQLITE_CORRUPT: "database_corrupt",
    sqlite3.SQLITE_NOTADB: "database_corrupt",
    sqlite3.SQLITE_READONLY: "database_read_only",
    sqlite3.SQLITE_FULL: "disk_full",
}
_PRIMARY: Final = 0xFF
"""The bits of an extended result code that hold the primary one."""


class DamagedDatabaseError(sqlite3.DatabaseError):
    """SQLite's integrity check found that the database is damaged."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


class DatabaseProbe(ABC):
    """Health check of the database; base of the checks for SQLite and PostgreSQL.

    Concurrent callers share one check. Its result is cached for half a second (`FRESH`).
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, timeout_s: float = WAIT) -> None:
        self._probes = SingleFlight[str | None](FRESH, timeout_s, clock)

    async def find_fault(self) -> str | None:
        """Check whether the database can be read and written. Answers within about a second (`WAIT`).

        While a check hangs, no second one is started, so at most one thread is blocked.

        Returns:
            Why the database cannot be used, as a code such as ``disk_full``; None if it can.
        """
        probe = await self._probes.wait_for_result(self._ask)
        return "database_slow" if probe is None else probe.result()

    @abstractmethod
    async def _ask(self) -> str | None: ...


class SqliteProbe(DatabaseProbe):
    """Checks whether SQLite can be read and written, on a new connection in a thread of its own."""

    def __init__(
        self, path: Path, *, clock: Callable[[], float] = time.monotonic, timeout_s: float = WAIT
    ) -> None:
        super().__init__(clock=clock, timeout_s=timeout_s)
        self._file = DatabaseFile.create_if_missing(path)

    @override
    async def _ask(self) -> str | None:
        return await run_in_daemon_thread(partial(find_sqlite_fault, self._file))


def find_sqlite_fault(file: DatabaseFile) -> str | None:
    """Check in the calling thread, without a time limit, whether the SQLite database can be read and written.

    Returns:
        Why the database cannot be used, as a code such as ``disk_full``; None if it can.
    """
    if (fault := file.find_fault()) is not None:
        return fault
    try:
        with closing(sqlite3.connect(f"{file.path.as_uri()}?mode=rw", timeout=_BUSY, uri=True)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
            for table in Base.metadata.tables:
                database.execute(f'SELECT * FROM "{table}" LIMIT 1').fetchone()  # noqa: S608 - a name of ours
        check_sqlite_integrity(file.path, SMALL)
        return _fault_of_disk(file.path.parent)
    except OSError:
        return "database_gone"
    except sqlite3.Error as error:
        return _REASONS.get(getattr(error, "sqlite_errorcode", 0) & _PRIMARY, "database_unavailable")


def _fault_of_disk(folder: Path) -> str | None:
    """Why nothing can be written to the disk of ``folder``, as a code; None if it can. SQLite would notice only on a write."""
    try:
        with tempfile.TemporaryFile(dir=folder) as trial:
            reserve_disk_space(trial.fileno(), 0, ROOM)
    except OSError as error:
        return _FAULTS_OF_DISKS.get(error.errno or 0, "database_unavailable")
    return None


def check_sqlite_integrity(path: Path, max_bytes: int) -> None:
    """Check that the SQLite file ``path`` can be read. A file of at most ``max_bytes`` is checked completely.

    Raises:
        sqlite3.Error: The database cannot be read, or is damaged.
    """
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", timeout=_BUSY, uri=True)) as database:
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if path.stat().st_size <= max_bytes and database.execute("PRAGMA quick_check(1)").fetchone() != (
            "ok",
        ):
            raise DamagedDatabaseError("it is damaged")
