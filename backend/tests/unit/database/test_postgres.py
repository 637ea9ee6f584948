from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import inspect, text

from backend.database.engine import UnusableDatabaseError
from backend.database.ledger import make_ledger_store
from backend.database.migrations import upgrade
from backend.database.postgres import (
    PostgresProbe,
    make_postgres_engine,
    open_and_migrate_postgres,
    open_postgres_engine,
)
from backend.ledger.store import StoreUnreachableError
from backend.tests.fakes.children import fork
from backend.tests.fakes.records import record, spooled

from .test_migrations import differences

if TYPE_CHECKING:
    from pathlib import Path

    from backend.tests.fakes.postgres import Postgres

PASSWORD = "house-key-of-the-database"


async def test_models_and_migrations_agree(postgres: Postgres) -> None:
    with postgres.database() as url:
        async with open_and_migrate_postgres(url) as engine:
            assert await differences(engine) == []


async def test_two_processes_may_start_at_once(postgres: Postgres) -> None:
    with postgres.empty() as url:
        engines = [make_postgres_engine(url) for _ in range(4)]
        try:
            await asyncio.gather(*map(upgrade, engines))
            async with engines[0].connect() as connection:
                tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        finally:
            for engine in engines:
                await engine.dispose()
    assert "ledger_attempts" in tables


@pytest.mark.parametrize("name", ["postgres", "postgresql", "postgresql+psycopg"])
def test_a_url_may_begin_as_its_vendors_tools_write_it(name: str) -> None:
    assert make_postgres_engine(f"{name}://somewhere/base").dialect.driver == "psycopg"


@pytest.mark.parametrize(
    "url", ["base", "mysql://u:{}@host/base", "sqlite:///base", "postgresql://u:{}@host:port/b"]
)
def test_another_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(UnusableDatabaseError) as told:
        make_postgres_engine(url.format(PASSWORD))

    assert "DATABASE_URL" in str(told.value)
    assert PASSWORD not in f"{told.value!r} {told.value.__cause__!r}"


async def test_a_server_that_is_not_there_is_told_in_one_line_without_the_password(tmp_path: Path) -> None:
    url = f"postgresql://ann:{PASSWORD}@/base?host={tmp_path}&application_name=house-key-of-ann"

    with pytest.raises(UnusableDatabaseError) as told:
        async with open_and_migrate_postgres(url):
            pass

    assert "\n" not in str(told.value)
    assert "house-key" not in str(told.value)


async def test_a_forked_child_has_connections_of_its_own(postgres: Postgres) -> None:
    with postgres.database() as url:
        async with open_and_migrate_postgres(url) as engine:

            async def served_by() -> int:
                async with asyncio.timeout(10), engine.connect() as connection:
                    return int(await connection.scalar(text("SELECT pg_backend_pid()")) or 0)

            mine = await served_by()
            child = fork(lambda: asyncio.run(served_by()))

            assert await asyncio.to_thread(child.result) != mine
            assert await served_by() == mine


async def test_a_ledger_whose_server_is_not_there_is_away_and_says_so(tmp_path: Path) -> None:
    async with open_postgres_engine(f"postgresql://ann@/base?host={tmp_path}") as engine:
        with pytest.raises(StoreUnreachableError):
            await make_ledger_store(engine).add(spooled([record()]))


class TestProbe:
    async def test_a_database_that_can_be_written_has_no_fault(self, postgres: Postgres) -> None:
        with postgres.database() as url:
            async with open_postgres_engine(url) as engine:
                assert await PostgresProbe(engine, timeout_s=60).find_fault() is None

    async def test_one_that_may_only_be_read_is_told(self, postgres: Postgres) -> None:
        with postgres.database() as url:
            async with open_postgres_engine(f"{url}&options=-cdefault_transaction_read_only%3Don") as engine:
                assert await PostgresProbe(engine, timeout_s=60).find_fault() == "database_read_only"

    async def test_one_without_tables_is_told(self, postgres: Postgres) -> None:
        with postgres.empty() as url:
            async with open_postgres_engine(url) as engine:
                assert await PostgresProbe(engine, timeout_s=60).find_fault() == "database_unavailable"

    async def test_a_server_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        async with open_postgres_engine(f"postgresql://ann@/base?host={tmp_path}") as engine:
            assert await PostgresProbe(engine, timeout_s=60).find_fault() == "database_unavailable"

    async def test_a_server_that_says_nothing_is_slow(self, postgres: Postgres) -> None:
        with postgres.database() as url:
            async with open_postgres_engine(url) as engine, engine.begin() as connection:
                await connection.exec_driver_sql("LOCK TABLE alembic_version")

                assert await PostgresProbe(engine, timeout_s=1).find_fault() == "database_slow"
