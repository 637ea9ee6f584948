"""Chains of attempts: each writer's rows of the ledger, in the order of their sequence, up to one hash.

A chain grows as its rows are inserted, in the same transaction, and the audit trail's heads sign how far it has. What a row
cost is not in it: that is reckoned from its tokens, which are, and may be reckoned anew.
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
    """A row, as a chain holds it.

    Attributes:
        hash: SHA-256 over all of the row but what it cost.
    """

    writer: str
    sequence: int
    hash: str


class End(NamedTuple):
    """The last row of a chain, and its hash."""

    sequence: int = 0
    hash: str = START


def leaf(row: Spooled) -> Leaf:
    """``row``, as a chain holds it."""
    content = _encoded([_VERSION, row.writer, row.sequence, *_chained(row.record)])
    return Leaf(row.writer, row.sequence, sha256(content))


def leaves(rows: Iterable[Spooled]) -> list[Leaf]:
    """``rows`` in the order of their chains. It takes some microseconds for each."""
    return sorted(map(leaf, rows))


def longer(end: End, rows: Iterable[Leaf]) -> End:
    """The end of a chain to which those of ``rows`` are added that it does not have yet. They are in its order."""
    for row in rows:
        if row.sequence > end.sequence:
            end = End(row.sequence, sha256(end.hash + row.hash))
    return end


def writers(rows: Sequence[Leaf]) -> list[str]:
    """Whose ``rows`` are, in order."""
    return list(dict.fromkeys(row.writer for row in rows))
