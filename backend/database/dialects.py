"""SQL that differs between SQLite and PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Text, cast, func, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncSession

_ALONE: Final = {
    "sqlite": text("BEGIN IMMEDIATE"),
    "postgresql": text("SELECT pg_advisory_xact_lock(5077290465)"),
}


def is_postgres(bind: AsyncSession | AsyncEngine) -> bool:
    """Whether the session or engine ``bind`` uses PostgreSQL. False means SQLite."""
    return (bind if isinstance(bind, AsyncEngine) else bind.get_bind()).dialect.name == "postgresql"


def make_insert(bind: AsyncSession | AsyncEngine, table: type[Any]) -> sqlite.Insert | postgresql.Insert:
    """Make an ``INSERT`` into ``table`` that supports ``ON CONFLICT``, in the SQL dialect of ``bind``."""
    return postgresql.insert(table) if is_postgres(bind) else sqlite.insert(table)


def decode_utf8_in_sql(bind: AsyncSession | AsyncEngine, utf8: ColumnElement[bytes]) -> ColumnElement[str]:
    """Make an SQL expression that decodes the UTF-8 bytes ``utf8`` to text in the database.

    Saves memory with long texts: a Python `str` with one character outside Latin-1 takes two to four times
    the memory of its bytes.
    """
    return func.convert_from(utf8, "UTF8", type_=Text) if is_postgres(bind) else cast(utf8, Text)


async def acquire_exclusive_lock(session: AsyncSession) -> None:
    """Take a lock until the transaction ends, so that transactions with this lock run one after the other.

    In PostgreSQL it is an advisory lock; in SQLite the write lock, which excludes all other writers too.
    """
    await session.execute(_ALONE["postgresql" if is_postgres(session) else "sqlite"])
