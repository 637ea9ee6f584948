from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from backend.database import probe as room
from backend.database.migrations import upgrade
from backend.database.probe import SqliteProbe

from .test_file import move, put_a_copy_in_its_place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.database.file import DatabaseFile

PAGE = 4096
MOST_OF_THE_POOL = 32
"""Threads that an event loop's pool has at most."""


class Clock:
    """Each look at it is so late that no answer is fresh any more."""

    now = 0.0

    def __call__(self) -> float:
        self.now += room.FRESH
        return self.now


@pytest.fixture
async def path(engine: AsyncEngine, tmp_path: Path) -> Path:
    await upgrade(engine)
    return tmp_path / "data" / "patchbay.sqlite3"


@pytest.fixture
def probe(path: Path) -> SqliteProbe:
    return SqliteProbe(path, clock=Clock())


async def test_a_database_that_is_well_has_no_fault(probe: SqliteProbe) -> None:
    assert [await probe.find_fault() for _ in range(2)] == [None, None]


async def test_the_database_is_probed_while_every_thread_of_the_pool_is_busy(probe: SqliteProbe) -> None:
    may_end = threading.Event()
    busy = [asyncio.ensure_future(asyncio.to_thread(may_end.wait, 60)) for _ in range(MOST_OF_THE_POOL)]
    try:
        assert await probe.find_fault() is None
        assert not any(task.done() for task in busy)
    finally:
        may_end.set()
        await asyncio.gather(*busy)


async def test_a_missing_database_is_reported_until_it_is_back(probe: SqliteProbe, path: Path) -> None:
    aside = path.with_name("aside")
    move(path, aside)
    gone = await probe.find_fault()
    move(aside, path)

    assert (gone, await probe.find_fault()) == ("database_gone", None)


async def test_a_replaced_database_is_reported(probe: SqliteProbe, path: Path) -> None:
    put_a_copy_in_its_place(path)

    assert await probe.find_fault() == "database_replaced"


async def test_a_locked_database_is_reported_until_it_is_unlocked(probe: SqliteProbe, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        locked = await probe.find_fault()

    assert (locked, await probe.find_fault()) == ("database_locked", None)


@pytest.mark.parametrize("page", [0, 1, 3, 5])
async def test_an_overwritten_database_is_reported_until_it_is_restored(
    page: int, probe: SqliteProbe, path: Path, engine: AsyncEngine
) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    whole = content(path)
    garbage = whole[: page * PAGE] + b"\xa5" * PAGE + whole[(page + 1) * PAGE :]

    overwrite(path, garbage)
    broken = await probe.find_fault()
    overwrite(path, whole)

    assert (broken, await probe.find_fault()) == ("database_corrupt", None)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "disk_full"),
        (errno.EDQUOT, "disk_full"),
        (errno.EROFS, "database_read_only"),
        (errno.EIO, "database_unavailable"),
    ],
)
async def test_a_disk_that_takes_nothing_is_reported_before_anybody_writes(
    number: int, code: str, probe: SqliteProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(room, "reserve_disk_space", fails)
        fault = await probe.find_fault()

    assert (fault, await probe.find_fault()) == (code, None)


def content(path: Path) -> bytes:
    return path.read_bytes()


def overwrite(path: Path, new: bytes) -> None:
    """In place: SQLite's locks are this process's, and go when a file is closed. So only while nothing is asked."""
    with path.open("r+b") as file:
        file.write(new)


class TestAskedOften:
    """Its answers are open to everybody, so asking costs next to nothing."""

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
        """A database that answers when it is let."""
        asked: list[Callable[[], None]] = []

        def answer(_: DatabaseFile) -> str | None:
            let = threading.Event()
            asked.append(let.set)
            let.wait()
            return None

        monkeypatch.setattr(room, "find_sqlite_fault", answer)
        return asked

    async def test_who_asks_while_it_is_asked_waits_for_the_same_answer(
        self, path: Path, asked: list[Callable[[], None]]
    ) -> None:
        probe = SqliteProbe(path, clock=Clock(), timeout_s=60)
        waiting = [asyncio.create_task(probe.find_fault()) for _ in range(50)]
        while not asked:  # noqa: ASYNC110 - it is on a thread
            await asyncio.sleep(0)
        asked[0]()

        assert set(await asyncio.gather(*waiting)) == {None}
        assert len(asked) == 1

    async def test_an_answer_holds_for_half_a_second(
        self, path: Path, asked: list[Callable[[], None]]
    ) -> None:
        now = [0.0]
        probe = SqliteProbe(path, clock=lambda: now[0], timeout_s=60)
        for moment, times in [(0.0, 1), (0.49, 1), (0.5, 2)]:
            now[0] = moment
            waiting = asyncio.create_task(probe.find_fault())
            while len(asked) < times:  # noqa: ASYNC110
                await asyncio.sleep(0)
            asked[-1]()
            assert await waiting is None
            assert len(asked) == times

    async def test_a_disk_that_hangs_is_reported_and_holds_one_thread(
        self, path: Path, asked: list[Callable[[], None]]
    ) -> None:
        probe = SqliteProbe(path, clock=Clock(), timeout_s=0.001)

        told = [await probe.find_fault() for _ in range(3)]
        while not asked:  # noqa: ASYNC110
            await asyncio.sleep(0)
        asked[0]()

        assert told == ["database_slow"] * 3
        assert len(asked) == 1
