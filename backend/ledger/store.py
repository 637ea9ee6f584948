"""The Protocol of the ledger's store, as used by the shipper; `backend.database` implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.utils.llm.ledger.record import AttemptRecord


class SpooledRecord(NamedTuple):
    """A record of an attempt, and its unique key, by which the store recognises duplicates.

    Attributes:
        writer: The id of the process that wrote the record: a UUIDv7 as 32 hex digits.
        sequence: The number of the record among the process's records, from 1, without gaps.
        record: The record.
    """

    writer: str
    sequence: int
    record: AttemptRecord


class StoreUnreachableError(Exception):
    """The ledger's store cannot be reached, or does not answer. The same rows can be added later."""

    code = "store_away"


class RefusedRowError(Exception):
    """The ledger's store will never take one of the rows, because of its content. No row of the batch is added."""


class LedgerStore(Protocol):
    """The database of the ledger, as the `Shipper` sees it. It stores each row exactly once."""

    async def add(self, rows: Sequence[SpooledRecord]) -> int:
        """Add all rows that are not stored yet, or none of them, and return how many were added.

        After it returns, the rows survive a loss of power.

        Raises:
            StoreUnreachableError: The store cannot be reached.
            RefusedRowError: The store will never take one of the rows.
        """
