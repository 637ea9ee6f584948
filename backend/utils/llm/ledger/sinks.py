"""Sinks that keep the records of attempts."""

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
    """Keeps the record of each attempt, before the answer, or a stream's last chunk, is returned to the caller."""

    def append(self, record: AttemptRecord) -> None:
        """Keep ``record``.

        Called while the call waits, from any thread and from event loops, for several calls at once. Must return in
        microseconds, without waiting. Its exceptions are logged, and change no outcome.
        """


class MemorySink:
    """Keeps the latest records in memory, for tests and small applications.

    Args:
        most: The number of records kept.
    """

    def __init__(self, most: int = 10_000) -> None:
        self._kept: deque[AttemptRecord] = deque(maxlen=most)

    @property
    def records(self) -> tuple[AttemptRecord, ...]:
        """The kept records, in the order in which the attempts ended."""
        return tuple(self._kept)

    def append(self, record: AttemptRecord) -> None:
        """Keep ``record``, and drop the oldest beyond ``most``. See `LedgerSink.append`."""
        self._kept.append(record)


class JsonLinesSink:
    """Appends each record to a file on a local disk, as a line of JSON. Threads and processes may share the `LineFile`.

    Records survive the end of the process, but not a loss of power.

    Args:
        path: The file; if missing, made readable and writable for its owner alone.

    Raises:
        OSError: The file cannot be opened.
    """

    def __init__(self, path: Path | str) -> None:
        self._file = LineFile(path)

    def append(self, record: AttemptRecord) -> None:
        """Append ``record`` to the file. See `LedgerSink.append`.

        Raises:
            OSError: The disk is full or fails.
            ValueError: The file was closed.
        """
        self._file.append(record.as_json())

    def close(self) -> None:
        """Close the file; later `append` calls raise ValueError."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def records_in(path: Path | str) -> Iterator[AttemptRecord]:
    """The records that a `JsonLinesSink` wrote to ``path``; lines that were cut off are skipped.

    Raises:
        OSError: The file cannot be read.
    """
    with Path(path).open("rb") as file:
        for line in file:
            with suppress(ValueError):
                yield AttemptRecord.of_json(line)
