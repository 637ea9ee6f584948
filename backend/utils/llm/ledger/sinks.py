"""Sinks that store the records of attempts."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from .line_file import LineFile
from .record import AttemptRecord

if TYPE_CHECKING:
    from collections.abc import Iterator


class LedgerSink(Protocol):
    """Stores the record of each attempt. Applications implement it, or use one of the sinks in this module.

    `append` is called before the answer, or the last chunk of a stream, is returned to the caller.
    """

    def append(self, record: AttemptRecord) -> None:
        """Store ``record``.

        It delays the call, and is called by several threads and event loops at once. So it must be thread-safe,
        and return in microseconds without waiting. Its exceptions are logged, and do not affect the call.
        """


class MemorySink:
    """Stores the latest records in memory, for tests and small applications.

    Args:
        most: The number of records kept.
    """

    def __init__(self, most: int = 10_000) -> None:
        self._kept: deque[AttemptRecord] = deque(maxlen=most)

    @property
    def records(self) -> tuple[AttemptRecord, ...]:
        """The stored records, in the order in which the attempts ended."""
        return tuple(self._kept)

    def append(self, record: AttemptRecord) -> None:
        """Store ``record``, and drop the oldest record if there are too many."""
        self._kept.append(record)


class JsonLinesSink:
    """Appends each record to a file on a local disk, as a line of JSON.

    Threads and processes may share the file. Records survive a crash of the process, but not a loss of
    power.

    Args:
        path: The file. A missing file is created, readable and writable for its owner only.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path | str) -> None:
        self._file = LineFile(path)

    def append(self, record: AttemptRecord) -> None:
        """Append ``record`` to the file.

        Raises:
            OSError: The disk is full or fails.
            ValueError: The file was closed.
        """
        self._file.append(record.as_json())

    def close(self) -> None:
        """Close the file. Later `append` calls raise ValueError."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def records_in(path: Path | str) -> Iterator[AttemptRecord]:
    """Read the records that a `JsonLinesSink` wrote to ``path``. Incomplete lines are skipped.

    Raises:
        OSError: The file cannot be read.
        TypeError: A line is a record of another version.
    """
    with Path(path).open("rb") as file:
        for line in file:
            with suppress(ValueError):
                yield AttemptRecord.from_json(line)
