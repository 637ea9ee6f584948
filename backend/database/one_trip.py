"""Reads one value with one hop to another thread: with SQLite, a SQLAlchemy session takes five."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy.dialects import sqlite

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")


class Reading(Generic[T]):
    """A SELECT of one value that is read often: it is compiled once and runs in one hop to SQLite's thread.

    Args:
        statement: The SELECT of one column. Its variable parts are `bindparam`.
    """

    def __init__(self, statement: Select[T]) -> None:
        self._statement = statement
        self._in_sqlite = str(statement.compile(dialect=sqlite.dialect(paramstyle="named")))

    async def first(self, engine: AsyncEngine, **values: str) -> T | None:
        """Run the SELECT, and return the value in its first row; None if there is no row.

        Args:
            engine: The engine of the database.
            values: The values of the statement's `bindparam`, by name.

        Raises:
            sqlite3.Error: SQLite cannot be read.
            DBAPIError: PostgreSQL cannot be read.
        """
        async with engine.connect() as connection:
            if engine.dialect.name != "sqlite":
                return await connection.scalar(self._statement, values)
            driver: Any = (await connection.get_raw_connection()).driver_connection
            rows = await driver.execute_fetchall(self._in_sqlite, values)
        return rows[0][0] if rows else None
