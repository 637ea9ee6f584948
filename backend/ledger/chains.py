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


class Leaf(NamedTuple):
    """A row of the ledger as a link of a chain.

    Attributes:
        hash: SHA-256 over all of the row but its cost.
    """

    writer: str
    sequence: int
    hash: str


class End(NamedTuple):
    """The last row of a chain, and its hash."""

    sequence: int = 0
    hash: str = START


def leaf(row: Spooled) -> Leaf:
    """``row`` as a link of a chain."""
    content = _encoded([_VERSION, row.writer, row.sequence, *_chained(row.record)])
    return Leaf(row.writer, row.sequence, sha256(content))


def leaves(rows: Iterable[Spooled]) -> list[Leaf]:
    """``rows`` as links, in the order of their chains. Takes some microseconds per row."""
    return sorted(map(leaf, rows))


def longer(end: End, rows: Iterable[Leaf]) -> End:
    """The end of a chain after ``rows`` are appended, in order, without those that the chain already has."""
    for row in rows:
        if row.sequence > end.sequence:
            end = End(row.sequence, sha256(end.hash + row.hash))
    return end


def writers(rows: Sequence[Leaf]) -> list[str]:
    """The writers of ``rows``, in order."""
    return list(dict.fromkeys(row.writer for row in rows))
