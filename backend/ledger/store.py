"""The Protocol of the ledger's store, as the shipper uses it; `backend.database` implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.utils.llm.ledger.record import AttemptRecord


class Spooled(NamedTuple):
    """A record of an attempt with its unique key, which lets the store ignore a row that it already has.

    Attributes:
        writer: The process that wrote the record: a UUIDv7 as 32 hex digits.
        sequence: The number of the record among the writer's, from 1, without gaps.
        record: The record.
    """

    writer: str
    sequence: int
    record: AttemptRecord


class StoreAwayError(Exception):
    """The store cannot be reached or does not answer now. The same rows can be added later."""

    code = "store_away"


class RefusedRowError(Exception):
    """The store refuses one of the rows for good, because of its content. None of the rows was added."""


class LedgerStore(Protocol):
    """Stores the rows of the ledger, each once."""

    async def add(self, rows: Sequence[Spooled]) -> int:
        """Add those of ``rows`` that are new, all of them or none, and return their number.

        Once this returns, the rows survive a loss of power.

        Raises:
            StoreAwayError: The store cannot be reached.
            RefusedRowError: The store refuses one of the rows for good.
        """
