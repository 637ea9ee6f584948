"""The table that a process runs on: one snapshot at a time, swapped whole."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from typing_extensions import override

from ..errors import ConfigError
from ..forks import PerProcess
from .load import load, parse, table_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from .snapshot import Snapshot

    Check = Callable[[Snapshot], Iterable[str]]

log = logging.getLogger(__name__)


class Table(PerProcess):
    """Holds the snapshot in force. Reading it is one attribute access and takes no lock.

    Args:
        path: The file to read; by default the one that `table_path` finds.
        text: The table itself, instead of a file; it never changes.
        environ: Variables to read keys and overrides from; by default the process's own.

    Raises:
        ConfigError: If the first reading fails. Later readings that fail keep the last good snapshot.
    """

    def __init__(
        self, path: Path | None = None, *, text: str | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self.path = None if text is not None else path or table_path(environ)
        self._text = text
        self._environ = environ
        self._stamp = self._file_stamp()
        self._checks: list[Check] = []
        self.snapshot: Snapshot = self._read()
        self.problems: tuple[str, ...] = ()
        super().__init__()

    @override
    def _begin(self) -> None:
        self._lock = threading.Lock()

    def require(self, check: Check) -> None:
        """Put nothing in force in which ``check`` finds a problem.

        Raises:
            ConfigError: If what is in force already has one.
        """
        if problems := tuple(check(self.snapshot)):
            raise ConfigError(problems)
        self._checks.append(check)

    def _read(self) -> Snapshot:
        if self._text is not None:
            snapshot = parse(self._text, environ=self._environ)
        else:
            snapshot = load(self.path, environ=self._environ)
        if problems := [problem for check in self._checks for problem in check(snapshot)]:
            raise ConfigError(problems)
        return snapshot

    def reload(self) -> Snapshot:
        """Read the file again and put the result in force.

        Raises:
            ConfigError: If the file is bad; the last good snapshot stays in force, and ``problems`` says why.
        """
        with self._lock:
            stamp = self._file_stamp()
            try:
                self.snapshot = self._read()
            except ConfigError as error:
                self.problems = error.problems
                log.error("%s\nSnapshot %s stays in force.", error, self.snapshot.hash)  # noqa: TRY400 - no stack
                raise
            finally:
                self._stamp = stamp  # not before: a child that is forked meanwhile has to read for itself
            self.problems = ()
            log.info("Table %s is in force.", self.snapshot.hash)
            return self.snapshot

    def reload_if_changed(self) -> bool:
        """Reload if the file has changed since it was last read. True if a new snapshot is in force."""
        if self._file_stamp() == self._stamp:
            return False
        before = self.snapshot
        try:
            return self.reload() is not before
        except ConfigError:
            return False

    def _file_stamp(self) -> tuple[int, ...] | None:
        if self.path is None:
            return None
        try:
            stat = self.path.stat()
        except (OSError, ValueError):
            return None
        return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino
