"""Hash chains of attempts in the database: extended in the transaction that inserts the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from backend.database.audit import begin_chain
from backend.database.tables import AuditChainRow
from backend.ledger.audit import ATTEMPTS
from backend.ledger.chains import End, longer, writers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from backend.ledger.chains import Leaf


def grow(connection: Connection, rows: Sequence[Leaf]) -> None:
    """Append ``rows`` to the chains of their writers, in the transaction that inserts them."""
    for writer in writers(rows):
        before = _end(connection, writer)
        end = longer(before, (row for row in rows if row.writer == writer))
        change = update(AuditChainRow).where(*_of(writer)).values(**end._asdict())
        connection.execute(change)


def _end(connection: Connection, writer: str) -> End:
    """The end of the chain, which is locked until the transaction ends."""
    row = AuditChainRow
    query = select(row.sequence, row.hash).where(*_of(writer)).with_for_update()
    found = connection.execute(query).first()
    if found is None:
        begin_chain(connection, ATTEMPTS, writer)
        found = connection.execute(query).one()
    return End(*found)


def _of(writer: str) -> tuple[Any, Any]:
    return AuditChainRow.chain == ATTEMPTS, AuditChainRow.writer == writer
