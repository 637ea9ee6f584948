from __future__ import annotations

import asyncio
import logging
import stat
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from backend.database.engine import (
    UnusableDatabaseError,
    make_engine,
    make_sqlite_budget_engine,
    make_sync_sqlite_engine,
    open_and_migrate_sqlite,
)
from backend.database.sqlite_transactions import BUSY_SECONDS
from backend.tests.fakes.children import fork

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from .conftest import Sessions


@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("foreign_keys", 1), ("secure_delete", 1)]
)
async def test_every_connection_is_prepared(engine: AsyncEngine, pragma: str, value: object) -> None:
    async with engine.connect() as first, engine.connect() as second:
        for connection in (first, second):
            assert await connection.scalar(text(f"PRAGMA {pragma}")) == value


def test_the_folder_is_the_owners_alone(engine: AsyncEngine, tmp_path: Path) -> None:
    assert engine.url.database == str(tmp_path / "data" / "patchbay.sqlite3")
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        make_engine(tmp_path / "file" / "patchbay.sqlite3")


async def test_what_is_stored_is_in_no_log(
    sqlite_sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with sqlite_sessions.begin() as session:
        await session.execute(
            text(
                "INSERT INTO access_tokens (id, user_id, name, hash, created_at) VALUES ('a', 'ann', :words, 'h', '2026-01-01')"
            ),
            {"words": "said in private"},
        )

    assert "said in private" not in caplog.text


async def test_an_error_does_not_repeat_what_was_to_be_stored(engine: AsyncEngine) -> None:
    with pytest.raises(OperationalError) as failed:
        async with engine.begin() as connection:
            await connection.execute(
                text("INSERT INTO nowhere VALUES (:words)"), {"words": "said in private"}
            )

    assert "said in private" not in f"{failed.value} {failed.value!r} {failed.value.__cause__!r}"


class TestUnusable:
    """Whoever starts on it is told in one line."""

    async def open(self, path: Path) -> str:
        with pytest.raises(UnusableDatabaseError) as told:
            async with open_and_migrate_sqlite(path):
                pass
        assert str(path) in str(told.value)
        assert "\n" not in str(told.value)
        return str(told.value)

    async def test_a_folder_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "data").touch()

        assert "Not a directory" in await self.open(tmp_path / "data" / "patchbay.sqlite3")

    async def test_a_folder_below_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "data").touch()

        assert "Not a directory" in await self.open(tmp_path / "data" / "below" / "patchbay.sqlite3")

    async def test_a_folder_in_the_place_of_the_file(self, tmp_path: Path) -> None:
        assert "unable to open database file" in await self.open(tmp_path)

    async def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        (path := tmp_path / "patchbay.sqlite3").write_bytes(b"\x00garbage" * 1000)

        assert "not a database" in await self.open(path)

    async def test_a_database_that_is_damaged(self, tmp_path: Path) -> None:
        path = tmp_path / "patchbay.sqlite3"
        async with open_and_migrate_sqlite(path):
            pass
        content = path.read_bytes()
        path.write_bytes(content[:8192] + b"\xa5" * (len(content) - 8192))

        assert "damaged" in await self.open(path) or "malformed" in await self.open(path)

    async def test_a_database_of_a_newer_version(self, tmp_path: Path) -> None:
        path = tmp_path / "patchbay.sqlite3"
        async with open_and_migrate_sqlite(path) as engine, engine.begin() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

        assert "newer version" in await self.open(path)


async def test_a_forked_child_has_connections_of_its_own(engine: AsyncEngine) -> None:
    """Those of its parent are worked by threads that it does not have."""

    async def ask() -> int:
        async with asyncio.timeout(10), engine.connect() as connection:
            return int(await connection.scalar(text("SELECT 7")) or 0)

    assert await ask() == 7
    child = fork(lambda: asyncio.run(ask()))

    assert await asyncio.to_thread(child.result) == 7
    assert await ask() == 7


@pytest.mark.parametrize("make", [make_sync_sqlite_engine, make_sqlite_budget_engine])
def test_who_writes_in_a_thread_waits_for_the_turns_of_others(
    make: Callable[[Path], Engine], tmp_path: Path
) -> None:
    engine = make(tmp_path / "patchbay.sqlite3")
    with engine.connect() as connection:
        waits = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
    engine.dispose()

    assert waits == BUSY_SECONDS * 1_000


async def test_who_writes_on_the_event_loop_waits_for_the_turns_of_others(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        waits = await connection.scalar(text("PRAGMA busy_timeout"))

    assert waits == BUSY_SECONDS * 1_000


async def test_sixteen_who_write_at_once_all_write(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE numbers (number INTEGER)"))

    async def write(number: int) -> None:
        async with engine.begin() as connection:
            await connection.execute(text(f"INSERT INTO numbers VALUES ({number})"))  # noqa: S608 - a number

    await asyncio.gather(*(write(number) for number in range(16)))

    async with engine.connect() as connection:
        assert await connection.scalar(text("SELECT count(*) FROM numbers")) == 16
