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


def is_postgres(bound: AsyncSession | AsyncEngine) -> bool:
    """Whether the session or engine ``bound`` uses PostgreSQL, and not SQLite."""
    return (bound if isinstance(bound, AsyncEngine) else bound.get_bind()).dialect.name == "postgresql"


def insert_into(bound: AsyncSession | AsyncEngine, table: type[Any]) -> sqlite.Insert | postgresql.Insert:
    """Make an ``INSERT`` statement for ``table`` that supports ``ON CONFLICT`` in the database of ``bound``."""
    return postgresql.insert(table) if is_postgres(bound) else sqlite.insert(table)


def sql_text_from_utf8(bound: AsyncSession | AsyncEngine, utf8: ColumnElement[bytes]) -> ColumnElement[str]:
    """Make an SQL expression that decodes the UTF-8 bytes ``utf8`` to text in the database.

    Used for long texts: a Python `str` with one character outside Latin-1 takes two to four times the memory
    of its bytes.
    """
    return func.convert_from(utf8, "UTF8", type_=Text) if is_postgres(bound) else cast(utf8, Text)


async def take_transaction_lock(session: AsyncSession) -> None:
    """Take a lock, so that transactions that call this function run one after the other.

    In PostgreSQL it is an advisory lock. In SQLite it is the write lock, which excludes all other writers as
    well. The lock is released when the transaction ends.
    """
    await session.execute(_ALONE["postgresql" if is_postgres(session) else "sqlite"])
