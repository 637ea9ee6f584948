"""Hash chains of attempts: one for each process, over its ledger rows in the order of their sequence.

A chain grows in the transaction that inserts its rows, and heads of the audit trail sign its last link.
A row's tokens are part of its hash. Its cost is not, because it is computed from the tokens and may be
computed again.
"""

from __future__ import annotations

import json
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from backend.utils.llm.ledger.record import AttemptRecord

from .audit import START, sha256_hex

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .store import SpooledRecord

_encoded = json.JSONEncoder(separators=(",", ":")).encode
_VERSION: Final = 1
_RECKONED: Final = frozenset({"cost", "price_version"})
_chained = itemgetter(*(place for place, name in enumerate(AttemptRecord._fields) if name not in _RECKONED))


class ChainLink(NamedTuple):
    """The key and the hash of one ledger row, as a link of the hash chain of the process that wrote the row.

    Attributes:
        writer: The id of the process.
        sequence: The number of the row among the process's rows, from 1.
        hash: SHA-256 over the row without its cost.
    """

    writer: str
    sequence: int
    hash: str


class ChainEnd(NamedTuple):
    """The end of a hash chain: the number of its last row, and the hash over all rows up to it."""

    sequence: int = 0
    hash: str = START


def hash_row(row: SpooledRecord) -> ChainLink:
    """Hash a ledger row, without its cost, for the hash chain of the process that wrote it."""
    content = _encoded([_VERSION, row.writer, row.sequence, *_chained(row.record)])
    return ChainLink(row.writer, row.sequence, sha256_hex(content))


def hash_rows(rows: Iterable[SpooledRecord]) -> list[ChainLink]:
    """Hash ``rows``, and sort the results by process and number. Takes a few microseconds per row."""
    return sorted(map(hash_row, rows))


def extend_chain(end: ChainEnd, rows: Iterable[ChainLink]) -> ChainEnd:
    """Compute the end of a hash chain after ``rows`` are appended.

    Rows that are already in the chain are skipped.
    """
    for row in rows:
        if row.sequence > end.sequence:
            end = ChainEnd(row.sequence, sha256_hex(end.hash + row.hash))
    return end


def distinct_writers(rows: Sequence[ChainLink]) -> list[str]:
    """List the ids of the processes that wrote ``rows``, each once, in the order in which they first occur."""
    return list(dict.fromkeys(row.writer for row in rows))
