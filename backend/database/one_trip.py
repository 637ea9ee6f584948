"""Reads one value with one hop to another thread: with SQLite, a SQLAlchemy session takes five."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy.dialects import sqlite

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")


class CompiledSelect(Generic[T]):
    """A SELECT of one value, compiled once, for queries that run often.

    With SQLite, it needs one call to the driver's thread, where a SQLAlchemy session needs five.

    Args:
        statement: The SELECT of one column. Its parameters are `bindparam` objects.
    """

    def __init__(self, statement: Select[T]) -> None:
        self._statement = statement
        self._in_sqlite = str(statement.compile(dialect=sqlite.dialect(paramstyle="named")))

    async def fetch_first_value(self, engine: AsyncEngine, **values: str) -> T | None:
        """Run the SELECT, and return the value of the first row; None if there is no row.

        Args:
            engine: The engine of the database.
            values: The values of the statement's parameters, by name.

        Raises:
            sqlite3.Error: The SQLite database cannot be read.
            DBAPIError: The PostgreSQL database cannot be read.
        """
        async with engine.connect() as connection:
            if engine.dialect.name != "sqlite":
                return await connection.scalar(self._statement, values)
            driver: Any = (await connection.get_raw_connection()).driver_connection
            rows = await driver.execute_fetchall(self._in_sqlite, values)
        return rows[0][0] if rows else None
