"""The Protocol of the ledger's store, as used by the shipper; `backend.database` implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.utils.llm.ledger.record import AttemptRecord


class SpooledRecord(NamedTuple):
    """A record of an attempt with its unique key, by which the store recognises duplicates.

    Attributes:
        writer: The id of the process that wrote the record: a UUIDv7 as 32 hex digits.
        sequence: The number of the record among those of the process, from 1, without gaps.
        record: The record.
    """

    writer: str
    sequence: int
    record: AttemptRecord


class StoreUnreachableError(Exception):
    """The store cannot be reached, or does not answer. The same rows can be added later."""

    code = "store_away"


class RefusedRowError(Exception):
    """The store will never take one of the rows, because of its content. No row of the batch was added."""


class LedgerStore(Protocol):
    """Stores ledger rows, each exactly once."""

    async def add(self, rows: Sequence[SpooledRecord]) -> int:
        """Add the rows that are not yet stored, all of them or none, and return how many were added.

        Once this returns, the rows survive a loss of power.

        Raises:
            StoreUnreachableError: The store cannot be reached.
            RefusedRowError: The store will never take one of the rows.
        """
