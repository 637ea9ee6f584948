from __future__ import annotations

import logging
import stat
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from backend.database.engine import make_engine

if TYPE_CHECKING:
    from pathlib import Path

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


async def test_what_is_stored_is_in_no_log(sessions: Sessions, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with sessions.begin() as session:
        await session.execute(
            text("INSERT INTO access_tokens VALUES ('a', 'ann', :words, 'h', '2026-01-01', NULL, NULL)"),
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
