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
    """Whether ``bound`` uses PostgreSQL."""
    return (bound if isinstance(bound, AsyncEngine) else bound.get_bind()).dialect.name == "postgresql"


def insert_into(bound: AsyncSession | AsyncEngine, table: type[Any]) -> sqlite.Insert | postgresql.Insert:
    """Make an ``INSERT`` into ``table``, of the type that supports ``ON CONFLICT`` in the used database."""
    return postgresql.insert(table) if is_postgres(bound) else sqlite.insert(table)


def text_of(bound: AsyncSession | AsyncEngine, utf8: ColumnElement[bytes]) -> ColumnElement[str]:
    """Make an SQL expression that converts a parameter with UTF-8 bytes to text.

    Sent as a `str`, a long text with one wide character would take four times the memory.
    """
    return func.convert_from(utf8, "UTF8", type_=Text) if is_postgres(bound) else cast(utf8, Text)


async def serialize_transactions(session: AsyncSession) -> None:
    """Take a lock, so that this transaction runs alone among all transactions that call this function.

    What it reads does not change meanwhile. In SQLite, it runs alone among all writers.
    """
    await session.execute(_ALONE["postgresql" if is_postgres(session) else "sqlite"])
