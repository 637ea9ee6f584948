"""The ledger in the database: inserts each row once, and adds it to the roll-ups."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import psycopg
from sqlalchemy.exc import DataError, IntegrityError
from typing_extensions import override

from backend.database.attempt_chains import append_to_hash_chains
from backend.database.faults import is_database_unavailable
from backend.database.ledger_tables import COLUMNS, DAY
from backend.database.partitions import LedgerPartitions
from backend.database.rollups import add_to_rollups
from backend.database.transactions import get_transaction_runner
from backend.ledger.chains import make_chain_links
from backend.ledger.store import RefusedRowError, SpooledRecord, StoreUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from backend.ledger.chains import ChainLink

PATIENCE: Final = 30.0
"""Seconds without an answer after which a database counts as unavailable."""
_LAST: Final = 253_402_300_800_000_000
"""The end of the year 9999 in microseconds: no calendar goes further."""
_NAMES: Final = ", ".join(COLUMNS)
_REFUSED: Final = (
    DataError,
    IntegrityError,
    psycopg.DataError,
    psycopg.IntegrityError,
    UnicodeError,
    OverflowError,
)
_AWAY: Final = (psycopg.OperationalError, psycopg.InterfaceError, OSError, TimeoutError)


def make_ledger_store(engine: AsyncEngine) -> SqlLedgerStore:
    """Make the `LedgerStore` for the database of ``engine``, which is SQLite or PostgreSQL."""
    return PostgresLedgerStore(engine) if engine.dialect.name == "postgresql" else SqliteLedgerStore(engine)


class SqlLedgerStore(ABC):
    """A `LedgerStore` in a database; base of the stores for SQLite and PostgreSQL.

    A row that is stored already is ignored, so a batch may be sent again after a failure.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, rows: Sequence[SpooledRecord]) -> int:
        """Insert the rows that are not stored yet, and return how many were inserted.

        Characters that the database cannot store, such as NUL, are replaced.

        Raises:
            StoreUnreachableError: The database cannot be reached.
            RefusedRowError: The database refuses one of the rows for good. No row was inserted.
        """
        if not rows:
            return 0
        try:
            return await self._added(rows)
        except RefusedRowError:
            readable = [_readable(row) for row in rows]
            if readable == list(rows):
                raise
        return await self._added(readable)

    async def _added(self, rows: Sequence[SpooledRecord]) -> int:
        with convert_store_errors():
            if not all(0 <= row.record.at < _LAST for row in rows):
                raise OverflowError("an attempt began at no time that has a date")
            async with asyncio.timeout(PATIENCE):
                return await self._add(rows)

    @abstractmethod
    async def _add(self, rows: Sequence[SpooledRecord]) -> int:
        """Add ``rows`` to the table and to the chains of their writers."""


class SqliteLedgerStore(SqlLedgerStore):
    """The ledger's store in SQLite.

    The rows that were just inserted are found by their rowid, because SQLite has one writer at a time.
    """

    _INSERT: Final = (
        f"INSERT INTO ledger_attempts ({_NAMES}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
        " ON CONFLICT DO NOTHING"
    )
    _LAST: Final = "SELECT coalesce(max(rowid), 0) FROM ledger_attempts"
    _NEW: Final = "ledger_attempts WHERE rowid > ?"
    _COUNT: Final = f"SELECT count(*) FROM {_NEW}"  # noqa: S608

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        self._transactions = get_transaction_runner(engine)

    @override
    async def _add(self, rows: Sequence[SpooledRecord]) -> int:
        return await self._transactions.run(partial(self._inserted, rows))

    def _inserted(self, rows: Sequence[SpooledRecord], connection: Connection) -> int:
        values, chained = [(row.writer, row.sequence, *row.record) for row in rows], make_chain_links(rows)
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        last = (fetch_int(connection, self._LAST),)
        connection.exec_driver_sql(self._INSERT, values)
        add_to_rollups(connection, self._NEW, last)
        append_to_hash_chains(connection, chained)
        return fetch_int(connection, self._COUNT, last)


class PostgresLedgerStore(SqlLedgerStore):
    """The ledger's store in PostgreSQL.

    Rows are copied into a temporary table, and inserted into the ledger from there.
    """

    _TABLES: Final = ("arrived", "fresh")
    _OWN: Final = "CREATE TEMP TABLE IF NOT EXISTS ledger_{} (LIKE ledger_attempts) ON COMMIT DELETE ROWS"
    _COPY: Final = f"COPY ledger_arrived ({_NAMES}) FROM STDIN"
    _INSERT: Final = (
        f"WITH new AS (INSERT INTO ledger_attempts ({_NAMES})"  # noqa: S608
        f" SELECT {_NAMES} FROM ledger_arrived ORDER BY writer, sequence ON CONFLICT DO NOTHING"
        f" RETURNING {_NAMES}) INSERT INTO ledger_fresh ({_NAMES}) SELECT {_NAMES} FROM new"
    )

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        self._partitions = LedgerPartitions(engine)

    @override
    async def _add(self, rows: Sequence[SpooledRecord]) -> int:
        days = {row.record.at // DAY for row in rows}
        lines, chained = await asyncio.to_thread(lambda: (_lines(rows), make_chain_links(rows)))
        await self._partitions.create_missing_partitions(days)
        try:
            return await self._inserted(lines, chained)
        except IntegrityError:  # another process has dropped one of them since
            await self._partitions.create_missing_partitions(days, refresh=True)
            return await self._inserted(lines, chained)

    async def _inserted(self, lines: bytes, chained: Sequence[ChainLink]) -> int:
        async with self._engine.begin() as connection:
            for each in self._TABLES:
                await connection.exec_driver_sql(self._OWN.format(each))
            await _copy(connection, self._COPY, lines)
            found = await connection.exec_driver_sql(self._INSERT)
            await connection.run_sync(add_to_rollups, "ledger_fresh")
            await connection.run_sync(append_to_hash_chains, chained)
            return found.rowcount


def fetch_int(connection: Connection, query: str, values: tuple[int, ...] = ()) -> int:
    """Run an SQL query that returns one number, and return it as an int. ``values`` fill the placeholders."""
    return int(connection.exec_driver_sql(query, values).scalar_one())


async def _copy(connection: AsyncConnection, statement: str, lines: bytes) -> None:
    raw = await connection.get_raw_connection()
    driver: psycopg.AsyncConnection = raw.driver_connection  # type: ignore[assignment]
    async with driver.cursor() as cursor, cursor.copy(statement) as copy:
        await copy.write(lines)


_ESCAPED: Final = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def _lines(rows: Sequence[SpooledRecord]) -> bytes:
    """The rows in the format of ``COPY``."""
    lines = ("\t".join(map(_cell, (row.writer, row.sequence, *row.record))) for row in rows)
    return ("\n".join(lines) + "\n").encode()


def _cell(value: str | float | None) -> str:
    if value is None:
        return r"\N"
    return value.translate(_ESCAPED) if isinstance(value, str) else str(value)


def _readable(row: SpooledRecord) -> SpooledRecord:
    """``row`` without characters that UTF-8 or PostgreSQL cannot store: lone surrogates, and NUL."""
    texts: dict[str, Any] = {
        name: _clean(value) for name, value in row.record._asdict().items() if isinstance(value, str)
    }
    return row._replace(record=row.record._replace(**texts))


def _clean(text: str) -> str:
    return text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


@contextmanager
def convert_store_errors() -> Iterator[None]:
    """Convert database errors that are raised within the context to the errors of `LedgerStore`.

    Raises:
        RefusedRowError: The database refuses a row because of its content.
        StoreUnreachableError: The database cannot be reached.
    """
    try:
        yield
    except _REFUSED as error:
        raise RefusedRowError("The database takes no such row.") from error
    except _AWAY as error:
        raise StoreUnreachableError("The database is away.") from error
    except Exception as error:
        if is_database_unavailable(error):
            raise StoreUnreachableError("The database is away.") from error
        raise
