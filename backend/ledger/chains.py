"""Hash chains of attempts: one for each writer's rows of the ledger, in the order of their sequence.

A chain grows in the transaction that inserts its rows, and heads of the audit trail sign its last link. A row's tokens are
part of its hash. Its cost is not: it is computed from the tokens, and may be computed again.
"""

from __future__ import annotations

import json
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from backend.utils.llm.ledger.record import AttemptRecord

from .audit import START, sha256

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .store import Spooled

_encoded = json.JSONEncoder(separators=(",", ":")).encode
_VERSION: Final = 1
_RECKONED: Final = frozenset({"cost", "price_version"})
_chained = itemgetter(*(place for place, name in enumerate(AttemptRecord._fields) if name not in _RECKONED))


class ChainLink(NamedTuple):
    """The key and the hash of one ledger row, which is all that its hash chain needs to know of it.

    Attributes:
        hash: SHA-256 over all of the row but its cost.
    """

    writer: str
    sequence: int
    hash: str


class ChainEnd(NamedTuple):
    """The sequence number of a chain's last row, and the hash over all rows up to it."""

    sequence: int = 0
    hash: str = START


def chain_link(row: Spooled) -> ChainLink:
    """Hash a ledger row, all but its cost, for the hash chain of its writer."""
    content = _encoded([_VERSION, row.writer, row.sequence, *_chained(row.record)])
    return ChainLink(row.writer, row.sequence, sha256(content))


def chain_links(rows: Iterable[Spooled]) -> list[ChainLink]:
    """Hash ``rows`` and sort them by writer and sequence. Takes some microseconds per row."""
    return sorted(map(chain_link, rows))


def extended_end(end: ChainEnd, rows: Iterable[ChainLink]) -> ChainEnd:
    """Compute the end of a chain after ``rows`` are appended. Rows that the chain already has are skipped."""
    for row in rows:
        if row.sequence > end.sequence:
            end = ChainEnd(row.sequence, sha256(end.hash + row.hash))
    return end


def writers(rows: Sequence[ChainLink]) -> list[str]:
    """The distinct writers of ``rows``, in the order in which they first occur."""
    return list(dict.fromkeys(row.writer for row in rows))
