from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import async_sessionmaker

from backend.access import make_default_grant
from backend.database import migrations
from backend.database.engine import make_engine
from backend.database.ledger import make_ledger_store
from backend.database.ledger_tables import MEASURES
from backend.database.migrations import upgrade
from backend.database.tables import AccessTokenRow, Base, LoginSessionRow, UserKeyRow, UserKeySettingsRow
from backend.database.tokens import TokenStore
from backend.routers.tokens import Tenant
from backend.tests.fakes.records import record, spooled

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

FOLDER = Path(migrations.__file__).parent
UNKNOWN = "not\u00a0known"
"""The tenant of what is not known to be anybody's."""


async def test_models_and_migrations_agree(engine: AsyncEngine) -> None:
    await upgrade(engine)
    assert await differences(engine) == []


async def test_the_comparison_sees_a_difference(engine: AsyncEngine) -> None:
    await upgrade(engine)
    async with engine.begin() as connection:
        await connection.execute(text("DROP INDEX ix_conversations_newest_of_user"))
    assert [kind for kind, _ in await differences(engine)] == ["add_index"]


async def test_the_index_descends_by_time(engine: AsyncEngine) -> None:
    await upgrade(engine)
    query = text("SELECT sql FROM sqlite_master WHERE name = 'ix_conversations_newest_of_user'")
    async with engine.connect() as connection:
        sql = str(await connection.scalar(query))
    assert sql.endswith("ON conversations (user_id, tenant_id, created_at DESC, id)")


async def test_upgrading_twice_changes_nothing(engine: AsyncEngine) -> None:
    await upgrade(engine)
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO access_tokens (id, user_id, name, hash, created_at) VALUES ('a', 'u', 'n', 'h', '2026-01-01')"
            )
        )
    await upgrade(engine)
    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM access_tokens")) == 1


async def test_two_processes_may_start_at_once(tmp_path: Path) -> None:
    engines = [make_engine(tmp_path / "patchbay.sqlite3") for _ in range(8)]
    try:
        await asyncio.gather(*map(upgrade, engines))
        async with engines[0].connect() as connection:
            assert "conversations" in await connection.run_sync(_tables)
    finally:
        for engine in engines:
            await engine.dispose()


async def differences(engine: AsyncEngine) -> list[Any]:
    async with engine.connect() as connection:
        return await connection.run_sync(_compare)


def _compare(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, Base.metadata))


def _tables(connection: Connection) -> list[str]:
    return inspect(connection).get_table_names()


async def test_tokens_of_before_may_do_what_they_could(engine: AsyncEngine) -> None:
    await upgrade(engine)
    async with engine.begin() as connection:
        await connection.run_sync(_to, "0010")
        for user in ("admin", "ann"):
            columns = "(id, user_id, name, hash, created_at)"
            query = f"INSERT INTO access_tokens {columns} VALUES (:user, :user, 'n', :user, '2026-01-01')"  # noqa: S608 - ours
            await connection.execute(text(query), {"user": user})
    await upgrade(engine)

    tokens = TokenStore(async_sessionmaker(engine))
    assert {token.id: token.grant for token in await tokens.list_tokens()} == {
        user: replace(make_default_grant(user), token_id=user) for user in ("admin", "ann")
    }


async def test_sums_of_users_are_told_by_tenant_as_far_as_rows_tell_it(engine: AsyncEngine) -> None:
    await upgrade(engine)
    calls = "0193a1b2-c3d4-7e5f-8a9b-{:012d}".format
    rows = [record(call=calls(1)), record(call=calls(2), tenant="globex"), record(call=calls(3), tenant=None)]
    await make_ledger_store(engine).add(spooled(rows))
    async with engine.begin() as connection:
        await connection.run_sync(_to, "0012")
        query = "SELECT attempts FROM usage_by_user WHERE user_id = 'ann'"
        assert (await connection.execute(text(query))).all() == [(3,)]
        columns, ones = ", ".join(MEASURES), ", ".join("1" for _ in MEASURES)
        old = f"INSERT INTO usage_by_user (day, user_id, {columns}) VALUES (1, 'ann', {ones})"  # noqa: S608 - ours
        await connection.execute(text(old))
    await upgrade(engine)

    async with engine.connect() as connection:
        query = "SELECT day > 1, tenant_id, attempts, cost FROM usage_by_user ORDER BY 1, 2"
        found = (await connection.execute(text(query))).all()
    cost = record().cost
    assert found == [(0, UNKNOWN, 1, 1), (1, "", 1, cost), (1, "acme", 1, cost), (1, "globex", 1, cost)]


async def test_what_was_used_on_a_day_of_which_rows_were_removed_stays_in_the_sums(
    engine: AsyncEngine,
) -> None:
    await upgrade(engine)
    calls = "0193a1b2-c3d4-7e5f-8a9b-{:012d}".format
    rows = [record(call=calls(number), user=user) for number, user in enumerate(["ann", "ann", "bob"])]
    await make_ledger_store(engine).add(spooled(rows))
    sums = ", ".join(f"sum({each})" for each in MEASURES)
    totals = text(f"SELECT user_id, {sums} FROM usage_by_user GROUP BY 1")  # noqa: S608 - ours
    async with engine.begin() as connection:
        before = (await connection.execute(totals)).all()
        await connection.run_sync(_to, "0012")
        await connection.execute(text("DELETE FROM ledger_attempts WHERE call <> :kept"), {"kept": calls(0)})
    await upgrade(engine)

    async with engine.connect() as connection:
        query = "SELECT user_id, tenant_id, attempts FROM usage_by_user ORDER BY 1, 2"
        found = (await connection.execute(text(query))).all()
        assert found == [("ann", "acme", 1), ("ann", UNKNOWN, 1), ("bob", UNKNOWN, 1)]
        assert (await connection.execute(totals)).all() == before
    with pytest.raises(ValidationError, match="cannot be printed"):
        TypeAdapter(Tenant).validate_python(UNKNOWN)


async def test_every_change_of_access_is_counted_but_none_of_use(engine: AsyncEngine) -> None:
    await upgrade(engine)
    async with engine.connect() as connection:
        query = (
            "SELECT tbl_name, sql FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%access_changes%'"
        )
        found = {(table, *_when(sql)) for table, sql in (await connection.execute(text(query))).all()}
    rows = (AccessTokenRow, LoginSessionRow, UserKeyRow, UserKeySettingsRow)
    columns = {row.__tablename__: frozenset(each.name for each in row.__table__.columns) for row in rows}
    assert found == {
        (table, event, names - {"last_used_at"} if event == "UPDATE" else frozenset())
        for table, names in columns.items()
        for event in ("INSERT", "UPDATE", "DELETE")
    }


def _when(sql: str) -> tuple[str, frozenset[str]]:
    """The event of a trigger, and of which columns it is."""
    event, _, columns = sql.partition(" AFTER ")[2].partition(" ON ")[0].partition(" OF ")
    return event, frozenset(columns.split(", ") if columns else ())


def _to(connection: Connection, revision: str) -> None:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    command.downgrade(config, revision)
