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
    """A ledger row's key and hash, as one link of the hash chain of the process that wrote the row.

    Attributes:
        writer: The id of the process.
        sequence: The number of the row among the process's rows, from 1.
        hash: SHA-256 over the row without its cost.
    """

    writer: str
    sequence: int
    hash: str


class ChainEnd(NamedTuple):
    """The end of a hash chain: the number of its last row, and the hash over all rows so far."""

    sequence: int = 0
    hash: str = START


def make_chain_link(row: SpooledRecord) -> ChainLink:
    """Compute the link of a ledger row for its process's hash chain. The hash excludes the row's cost."""
    content = _encoded([_VERSION, row.writer, row.sequence, *_chained(row.record)])
    return ChainLink(row.writer, row.sequence, sha256_hex(content))


def make_chain_links(rows: Iterable[SpooledRecord]) -> list[ChainLink]:
    """Compute the links of ``rows``, sorted by process and number. Takes a few microseconds per row."""
    return sorted(map(make_chain_link, rows))


def extend_chain(end: ChainEnd, rows: Iterable[ChainLink]) -> ChainEnd:
    """Compute the new end of a hash chain from its ``end`` and the ``rows`` to append.

    Rows that are already in the chain are skipped.
    """
    for row in rows:
        if row.sequence > end.sequence:
            end = ChainEnd(row.sequence, sha256_hex(end.hash + row.hash))
    return end


def distinct_writers(rows: Sequence[ChainLink]) -> list[str]:
    """List the ids of the processes that wrote ``rows``, without duplicates, in order of first occurrence."""
    return list(dict.fromkeys(row.writer for row in rows))
