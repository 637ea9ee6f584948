"""Hash chains of attempts in the database: extended in the transaction that inserts the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, select, update

from backend.database.audit import create_hash_chain_if_missing
from backend.database.tables import AuditChainRow
from backend.ledger.audit import ATTEMPTS
from backend.ledger.chains import ChainEnd, distinct_writers, extend_chain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from backend.ledger.chains import ChainLink

_ROW: Final = AuditChainRow
_ITS: Final = (_ROW.chain == ATTEMPTS, _ROW.writer == bindparam("its_writer"))
_END: Final = select(_ROW.sequence, _ROW.hash).where(*_ITS).with_for_update()
_CHANGE: Final = (
    update(_ROW).where(*_ITS).values(sequence=bindparam("to_sequence"), hash=bindparam("to_hash"))
)


def append_to_hash_chains(connection: Connection, rows: Sequence[ChainLink]) -> None:
    """Extend each writer's hash chain by ``rows``, which the caller inserts into the ledger.

    Args:
        connection: A connection in the transaction that inserts the rows.
        rows: The hashes of the rows, each writer's in the order of their sequence. Rows that a chain already
            has are skipped.
    """
    for writer in distinct_writers(rows):
        before = _end(connection, writer)
        end = extend_chain(before, (row for row in rows if row.writer == writer))
        connection.execute(_CHANGE, {"its_writer": writer, "to_sequence": end.sequence, "to_hash": end.hash})


def _end(connection: Connection, writer: str) -> ChainEnd:
    """The end of the chain, which is locked until the transaction ends."""
    found = connection.execute(_END, {"its_writer": writer}).first()
    if found is None:
        create_hash_chain_if_missing(connection, ATTEMPTS, writer)
        found = connection.execute(_END, {"its_writer": writer}).one()
    return ChainEnd(*found)
