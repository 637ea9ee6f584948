"""Where records of attempts go."""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from .record import AttemptRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

_END = b"\n"
_OWNER_ALONE = 0o600


class LedgerSink(Protocol):
    """Takes the record of each attempt, before its answer, or a stream's last chunk, is handed on."""

    def append(self, record: AttemptRecord) -> None:
        """Keep ``record``.

        Called on the calling path, from any thread and from event loops, of several calls at once. It returns in
        microseconds, and waits for nothing. What it raises is logged, and changes no outcome.
        """


class MemorySink:
    """Keeps the latest records in memory, for tests and small applications.

    Args:
        most: How many.
    """

    def __init__(self, most: int = 10_000) -> None:
        self._kept: deque[AttemptRecord] = deque(maxlen=most)

    @property
    def records(self) -> tuple[AttemptRecord, ...]:
        """Those that are kept, in the order in which the attempts ended."""
        return tuple(self._kept)

    def append(self, record: AttemptRecord) -> None:
        """See `LedgerSink`."""
        self._kept.append(record)


class JsonLinesSink:
    """Appends each record to a file on a local disk, as a line of JSON.

    Threads and processes may share the file, forked ones as well: a record is one write, and begins a line also after
    one of which a full disk, or the end of its process, left only a part. Lines may be blank. What was appended outlasts
    the end of the process, but not a loss of power.

    Args:
        path: The file. It is made if it is not there, for its owner alone.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path | str) -> None:
        self._file = open(path, "a+b", buffering=0, opener=_opened)  # noqa: SIM115 - it stays open

    def append(self, record: AttemptRecord) -> None:
        """See `LedgerSink`.

        Raises:
            OSError: The disk is full, or fails.
            ValueError: The file was closed.
        """
        line = record.as_json().encode() + _END
        if not self._is_at_a_line():
            line = _END + line
        if (written := self._file.write(line)) != len(line):
            raise OSError(f"{written} of {len(line)} bytes of a record were written")

    def close(self) -> None:
        """Take no more records."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_at_a_line(self) -> bool:
        descriptor = self._file.fileno()
        size = os.fstat(descriptor).st_size
        return not size or os.pread(descriptor, 1, size - 1) == _END


def records_in(path: Path | str) -> Iterator[AttemptRecord]:
    """The records that a `JsonLinesSink` wrote to ``path``, without those of which there is only a part.

    Raises:
        OSError: It cannot be read.
    """
    with Path(path).open("rb") as file:
        for line in file:
            with suppress(ValueError):
                yield AttemptRecord.of_json(line)


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, _OWNER_ALONE)
