"""Where records of attempts go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .record import AttemptRecord


class LedgerSink(Protocol):
    """Takes the record of each attempt, before its answer, or a stream's last chunk, is handed on."""

    def append(self, record: AttemptRecord) -> None:
        """Keep ``record``.

        Called on the calling path, from any thread and from event loops, of several calls at once. It returns in
        microseconds, and waits for nothing. What it raises is logged, and changes no outcome.
        """
