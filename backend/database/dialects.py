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
    """An ``INSERT`` that supports ``ON CONFLICT``."""
    return postgresql.insert(table) if is_postgres(bound) else sqlite.insert(table)


def text_of(bound: AsyncSession | AsyncEngine, utf8: ColumnElement[bytes]) -> ColumnElement[str]:
    """A text sent to the database as UTF-8 bytes: as a string, one wide letter would quadruple its memory."""
    return func.convert_from(utf8, "UTF8", type_=Text) if is_postgres(bound) else cast(utf8, Text)


async def serialize_transactions(session: AsyncSession) -> None:
    """Serialize the transaction of ``session`` with others that call this: what it reads does not change meanwhile.

    In SQLite, it is serialized with all other writers, too.
    """
    await session.execute(_ALONE["postgresql" if is_postgres(session) else "sqlite"])
