"""Where records end up, as the shipper sees it; `backend.database` has the real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.utils.llm.ledger.record import AttemptRecord


class Spooled(NamedTuple):
    """A record with what tells it from all others, whatever way it comes.

    Attributes:
        writer: Who wrote it: a UUIDv7 as 32 hex digits, another one for each process.
        sequence: Its number among those of the writer, from 1, without gaps.
        record: What it says.
    """

    writer: str
    sequence: int
    record: AttemptRecord


class StoreAwayError(Exception):
    """The store cannot be reached, or does not answer, now. The same rows can be added later."""

    code = "store_away"


class RefusedRowError(Exception):
    """The store will never take one of the rows that were to be added: its content is at fault. None of them was."""


class LedgerStore(Protocol):
    """Takes rows, each once."""

    async def add(self, rows: Sequence[Spooled]) -> int:
        """Add those of ``rows`` that are not there yet, all of them or none, and say how many these were.

        When it returns, they outlive a loss of power.

        Raises:
            StoreAwayError: The store is away.
            RefusedRowError: One of the rows is none for this store.
        """
