"""The table of a process: one snapshot at a time, replaced as a whole."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, NamedTuple

from typing_extensions import override

from ..clock import Time
from ..errors import ConfigError
from ..foreign import sanitize_text
from ..forks import ForkSafe
from .document import read_table_file
from .load import find_table_path, parse_table
from .overrides import IgnoredOverride

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

    from .overrides import Override, OverrideSource
    from .snapshot import TableSnapshot

    SnapshotCheck = Callable[[TableSnapshot], Iterable[str]]

log = logging.getLogger(__name__)


class _Reading(NamedTuple):
    """A valid text of the table, with the overrides that were stored when it was read.

    Attributes:
        ignored: The overrides of ``stored`` that do not fit.
    """

    text: str
    stored: tuple[Override, ...]
    snapshot: TableSnapshot
    ignored: tuple[IgnoredOverride, ...] = ()


class Table(ForkSafe):
    """Holds the `TableSnapshot` in force, which `reload` and `reload_if_changed` replace as a whole.

    Reading ``snapshot`` is one attribute access and takes no lock.

    Args:
        path: The file to read; by default the one that `find_table_path` finds.
        text: The text of the table, instead of a file; it never changes.
        environ: Variables to read keys and overrides from; by default the process's own.
        overrides: Returns the stored overrides. An override that does not fit the table is ignored. While
            the store cannot be read, the last overrides stay in force until they expire.
        now: The wall clock, timezone-aware; by default the real one.

    Raises:
        ConfigError: The first reading fails. Later readings that fail keep the last good snapshot.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        text: str | None = None,
        environ: Mapping[str, str] | None = None,
        overrides: OverrideSource = tuple,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self.path = None if text is not None else path or find_table_path(environ)
        self._text = text
        self._environ = environ
        self._overrides = _Stored(overrides, now or Time().now)
        self._stamp = self._file_stamp()
        self._checks: list[SnapshotCheck] = []
        self._reading = self._read()
        self.snapshot: TableSnapshot = self._reading.snapshot
        self.problems: tuple[str, ...] = ()
        super().__init__()

    @override
    def _begin(self) -> None:
        self._lock = threading.Lock()

    @property
    def ignored_overrides(self) -> tuple[IgnoredOverride, ...]:
        """The stored overrides that are not in force, because they do not fit the table."""
        return self._reading.ignored

    def add_snapshot_check(self, check: SnapshotCheck) -> None:
        """Add a check that the snapshot in force and all later snapshots must pass to be put in force.

        Args:
            check: Returns the problems of a snapshot; none if it passes.

        Raises:
            ConfigError: ``check`` finds a problem in the snapshot in force.
        """
        if problems := tuple(check(self.snapshot)):
            raise ConfigError(problems)
        self._checks.append(check)

    def set_override_source(self, source: OverrideSource) -> None:
        """Replace the function that returns the stored overrides; the next `reload_if_changed` reads from it."""
        self._overrides.source = source

    def preview_override(self, new_override: Override) -> TableSnapshot:
        """Return the snapshot that would be in force if ``new_override`` were stored. Nothing is changed.

        Raises:
            ConfigError: ``new_override`` does not fit the table.
        """
        return self._parsed(self._reading.text, (*self.snapshot.overrides, new_override))

    def _read(self) -> _Reading:
        text = self._text if self.path is None else read_table_file(self.path)
        return self._laid_over(text or "", self._overrides.now_valid())

    def _laid_over(self, text: str, stored: tuple[Override, ...]) -> _Reading:
        try:
            return _Reading(text, stored, self._parsed(text, stored))
        except ConfigError:
            snapshot = self._parsed(
                text, ()
            )  # if it is the table itself that is bad, no override is to blame
        return self._without_misfits(_Reading(text, stored, snapshot))

    def _without_misfits(self, reading: _Reading) -> _Reading:
        snapshot, ignored = reading.snapshot, []
        for item in reading.stored:
            try:
                snapshot = self._parsed(reading.text, (*snapshot.overrides, item))
            except ConfigError as error:
                ignored.append(IgnoredOverride(item, error.problems))
                _tell(item, "override.ignored", "; ".join(error.problems), logging.WARNING)
        return reading._replace(snapshot=snapshot, ignored=tuple(ignored))

    def _parsed(self, text: str, overrides: tuple[Override, ...]) -> TableSnapshot:
        snapshot = parse_table(text, environ=self._environ, source=self.path, overrides=overrides)
        if problems := [problem for check in self._checks for problem in check(snapshot)]:
            raise ConfigError(problems)
        return snapshot

    def reload(self) -> TableSnapshot:
        """Read the file again and put the result in force.

        Raises:
            ConfigError: The file is bad; the last good snapshot stays in force, and ``problems`` says why.
        """
        with self._lock:
            stamp = self._file_stamp()
            try:
                self._put_in_force(self._read())
            except ConfigError as error:
                self.problems = error.problems
                log.error("%s\nSnapshot %s stays in force.", error, self.snapshot.hash)  # noqa: TRY400 - no stack
                raise
            finally:
                self._stamp = stamp  # not before: a child that is forked meanwhile has to read for itself
            self.problems = ()
            return self.snapshot

    def reload_if_changed(self) -> bool:
        """Reload if the file or the stored overrides have changed. Returns True if a new snapshot is in force.

        A bad file leaves the last good snapshot in force, and raises nothing.
        """
        before = self.snapshot
        if self._file_stamp() != self._stamp:
            try:
                return self.reload() is not before
            except ConfigError:
                pass  # what is stored is laid over the last good one
        with self._lock:
            if (stored := self._overrides.now_valid()) != self._reading.stored:
                self._put_in_force(self._laid_over(self._reading.text, stored))
        return self.snapshot is not before

    def _put_in_force(self, reading: _Reading) -> None:
        before, now = self.snapshot.overrides, reading.snapshot.overrides
        self._reading, self.snapshot = reading, reading.snapshot
        log.info("Table %s is in force.", self.snapshot.hash)
        for item in (item for item in now if item not in before):
            _tell(item, "override.in_force", "is in force")
        for item in (item for item in before if item not in now):
            _tell(item, "override.over", "is over")

    def _file_stamp(self) -> tuple[int, ...] | None:
        if self.path is None:
            return None
        try:
            stat = self.path.stat()
        except (OSError, ValueError):
            return None
        return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino


def _tell(one: Override, event: str, what: str, level: int = logging.INFO) -> None:
    fields = {"event": event, "override": one.id, "subject": sanitize_text(one.subject)}
    log.log(level, "%s, %s: %s", sanitize_text(one.problem_path), one, what, extra=fields)


class _Stored:
    """The stored overrides, as last read."""

    def __init__(self, source: OverrideSource, now: Callable[[], datetime]) -> None:
        self.source = source
        self._now = now
        self._last_overrides: tuple[Override, ...] = ()
        self._is_away = False

    def now_valid(self) -> tuple[Override, ...]:
        """The overrides that hold now."""
        try:
            self._last_overrides = tuple(self.source())
            self._is_away = False
        except Exception:
            if not self._is_away:
                log.exception("overrides.unreadable: those before hold on")
            self._is_away = True
        now = self._now()
        return tuple(item for item in self._last_overrides if now < item.until)
