"""One value of the database, read without a transaction around it."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import bindparam, event, select, text

from backend.database.faults import is_database_unavailable
from backend.database.one_trip import CompiledSelect
from backend.database.tables import ConversationRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from .conftest import Sessions

TITLE = CompiledSelect(select(ConversationRow.title).where(ConversationRow.id == bindparam("id")))


async def _keep(sessions: Sessions, conversation_id: str, title: str) -> None:
    row = ConversationRow(
        id=conversation_id,
        user_id="ann",
        created_at=datetime(2026, 11, 29, tzinfo=UTC),
        status="completed",
        title=title,
        document="{}",
    )
    async with sessions.begin() as session:
        session.add(row)


async def test_the_value_of_the_first_row_is_read_and_none_if_there_is_none(sessions: Sessions) -> None:
    await _keep(sessions, "c1", "Coffee")

    assert await TITLE.fetch_first_value(sessions.kw["bind"], id="c1") == "Coffee"
    assert await TITLE.fetch_first_value(sessions.kw["bind"], id="c2") is None


async def test_a_value_is_a_parameter_and_never_sql(sessions: Sessions) -> None:
    await _keep(sessions, "c1", "Coffee")

    assert await TITLE.fetch_first_value(sessions.kw["bind"], id="' OR 1=1 --") is None


async def test_sqlite_is_read_without_a_transaction(engine: AsyncEngine, sqlite_sessions: Sessions) -> None:
    await _keep(sqlite_sessions, "c1", "Coffee")
    seen: list[str] = []
    for name in ("begin", "rollback"):
        event.listen(engine.sync_engine, name, lambda *_, name=name, **__: seen.append(name))

    await TITLE.fetch_first_value(engine, id="c1")

    assert seen == []


async def test_a_lost_table_is_told_as_an_unusable_database(
    sqlite_sessions: Sessions, engine: AsyncEngine
) -> None:
    async with sqlite_sessions.begin() as session:
        await session.execute(text("DROP TABLE conversations"))

    with pytest.raises(sqlite3.OperationalError) as raised:
        await TITLE.fetch_first_value(engine, id="c1")

    assert is_database_unavailable(raised.value)


async def test_a_connection_that_is_given_back_is_in_no_transaction(sqlite_sessions: Sessions) -> None:
    async with sqlite_sessions() as session:
        await session.execute(text("BEGIN IMMEDIATE"))

    async with sqlite_sessions() as other:
        await other.execute(text("BEGIN IMMEDIATE"))
