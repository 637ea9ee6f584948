from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from backend.database.engine import make_engine, open_sqlite_engine
from backend.database.file import DatabaseFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Sessions

NOTE = text(
    "INSERT INTO conversations (id, user_id, created_at, status, title, document)"
    " VALUES ('1', 'ann', '2026-11-21', 'completed', 'Talk', '{}')"
)


def delete(path: Path) -> None:
    path.unlink()


def put_a_copy_in_its_place(path: Path) -> None:
    (copy := path.with_name("restored")).write_bytes(path.read_bytes())
    copy.replace(path)


def move(path: Path, to: Path) -> None:
    path.rename(to)


def is_there(path: Path) -> bool:
    return path.exists()


def modes(folder: Path) -> dict[str, str]:
    return {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in folder.iterdir()}


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
async def test_in_a_folder_that_is_open_every_file_is_its_owners_alone(tmp_path: Path) -> None:
    (folder := tmp_path / "data").mkdir()
    folder.chmod(0o755)

    async with open_sqlite_engine(folder / "patchbay.sqlite3") as engine:
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE t (x)"))
        found = modes(folder)

    assert set(found) == {"patchbay.sqlite3", "patchbay.sqlite3-wal", "patchbay.sqlite3-shm"}
    assert set(found.values()) == {"0o600"}


@pytest.mark.parametrize("ending", ["", "-wal", "-shm"])
def test_a_file_that_others_may_open_is_taken_from_them_with_a_warning(
    ending: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    DatabaseFile.create_if_missing(tmp_path / "p.sqlite3")
    (open_one := tmp_path / f"p.sqlite3{ending}").touch()
    open_one.chmod(0o644)

    DatabaseFile.create_if_missing(tmp_path / "p.sqlite3")

    assert modes(tmp_path)[open_one.name] == "0o600"
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{open_one} was open to others")


def test_a_file_that_is_its_owners_alone_is_not_talked_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        DatabaseFile.create_if_missing(tmp_path / "p.sqlite3")

    assert caplog.records == []


def test_behind_a_link_it_is_the_file_that_counts(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "there" / "p.sqlite3")

    DatabaseFile.create_if_missing(tmp_path / "link")

    assert modes(tmp_path / "there") == {"p.sqlite3": "0o600"}


class TestLost:
    """What is written to a file that is gone would be acknowledged and lost."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "data" / "patchbay.sqlite3"

    async def test_nothing_is_written_to_a_file_that_was_deleted(
        self, sqlite_sessions: Sessions, path: Path
    ) -> None:
        delete(path)

        with pytest.raises(OperationalError, match="database_gone"):
            async with sqlite_sessions.begin() as session:
                await session.execute(NOTE)

        assert not is_there(path)

    async def test_nothing_is_committed_to_a_database_that_was_deleted_meanwhile(
        self, sqlite_sessions: Sessions, path: Path
    ) -> None:
        async def note() -> None:
            async with sqlite_sessions.begin() as session:
                await session.execute(NOTE)
                delete(path)

        with pytest.raises(OperationalError, match="database_gone"):
            await note()

    async def test_nothing_is_committed_to_a_file_that_took_its_place(
        self, sqlite_sessions: Sessions, path: Path
    ) -> None:
        put_a_copy_in_its_place(path)

        with pytest.raises(OperationalError, match="database_replaced"):
            async with sqlite_sessions.begin() as session:
                await session.execute(NOTE)

    async def test_when_it_is_back_it_is_used_again(self, sqlite_sessions: Sessions, path: Path) -> None:
        aside = path.with_name("aside")
        move(path, aside)
        with pytest.raises(OperationalError):
            async with sqlite_sessions() as session:
                await session.execute(NOTE)
        move(aside, path)

        async with sqlite_sessions.begin() as session:
            await session.execute(NOTE)
        async with sqlite_sessions() as session:
            assert await session.scalar(text("SELECT count(*) FROM conversations")) == 1

    async def test_a_connection_makes_no_new_file(self, path: Path) -> None:
        engine = make_engine(path)
        delete(path)

        with pytest.raises(OperationalError):
            async with engine.connect():
                pass

        assert not is_there(path)
        await engine.dispose()
