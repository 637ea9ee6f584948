"""Where records of attempts go."""

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
        """The records that are kept, in the order in which the attempts ended."""
        return tuple(self._kept)

    def append(self, record: AttemptRecord) -> None:
        """See `LedgerSink`."""
        self._kept.append(record)


class JsonLinesSink:
    """Appends each record to a file on a local disk, as a line of JSON. Threads and processes may share it, as a `LineFile`.

    What was appended outlasts the end of the process, but not a loss of power.

    Args:
        path: The file. It is made if it is not there, for its owner alone.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path | str) -> None:
        self._file = LineFile(path)

    def append(self, record: AttemptRecord) -> None:
        """See `LedgerSink`.

        Raises:
            OSError: The disk is full, or fails.
            ValueError: The file was closed.
        """
        self._file.append(record.as_json())

    def close(self) -> None:
        """Take no more records."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def records_in(path: Path | str) -> Iterator[AttemptRecord]:
    """The records that a `JsonLinesSink` wrote to ``path``, without those of which there is only a part.

    Raises:
        OSError: It cannot be read.
    """
    with Path(path).open("rb") as file:
        for line in file:
            with suppress(ValueError):
                yield AttemptRecord.of_json(line)
