"""Empties SQLite's write-ahead log, because it holds copies of deleted and overwritten data."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

    from backend.background import BackgroundTaskRunner

log = logging.getLogger(__name__)

AGAIN: Final = 5.0
"""Seconds between two looks of a running server at the log."""
_WAIT_MS: Final = 250
"""Milliseconds to wait for who reads. Nobody writes meanwhile, so it is short."""


async def erase_deleted_data(sessions: async_sessionmaker[AsyncSession], table: str | None = None) -> bool:
    """Erase deleted data from SQLite's files, which still hold copies of them. Does nothing with PostgreSQL.

    Args:
        sessions: Opens sessions on the database.
        table: A table whose rows are rewritten first, because old pages may hold copies of them; None for no
            table.

    Returns:
        False if the data could not be erased, as while the write-ahead log is in use. A running server
        empties the log within seconds.
    """
    engine = sessions.kw["bind"]
    if engine.dialect.name != "sqlite":
        return True
    path = Path(engine.url.database)
    if done := await asyncio.to_thread(_erase, path, table):
        return done
    log.warning(
        "database.not_erased_yet: %s is in use; its log is emptied %s s after that at most", path, AGAIN
    )
    return False


def truncate_wal(path: Path) -> bool:
    """Empty the write-ahead log of the SQLite file ``path``; False if that is not possible now."""
    return _erase(path, None)


def _erase(path: Path, table: str | None) -> bool:
    try:
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as database:
            if table is not None:
                _rewrite(database, table)
            database.execute(f"PRAGMA busy_timeout = {_WAIT_MS}")
            busy, *_ = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error:
        return False
    return not busy


def _rewrite(database: sqlite3.Connection, table: str) -> None:
    """Write every row again, to new pages.

    `secure_delete` overwrites a row in place. If SQLite has moved the row to another page before, the old page may hold a
    copy.
    """
    database.execute("PRAGMA secure_delete = ON")
    database.execute("PRAGMA foreign_keys = OFF")  # what refers to these rows stays
    database.execute("BEGIN IMMEDIATE")
    rows = database.execute(f'SELECT * FROM "{table}"').fetchall()  # noqa: S608 - a name of ours
    database.execute(f'DELETE FROM "{table}"')  # noqa: S608
    if rows:
        values = ",".join("?" * len(rows[0]))
        database.executemany(f'INSERT INTO "{table}" VALUES ({values})', rows)  # noqa: S608
    database.execute("COMMIT")


@asynccontextmanager
async def truncate_wal_periodically(path: Path, background: BackgroundTaskRunner) -> AsyncIterator[None]:
    """While the context lasts, empty the write-ahead log of the SQLite file ``path`` every five seconds."""
    work = partial(asyncio.to_thread, _empty_if_filled, path)
    async with background.run_repeatedly("database.log", work, interval_s=AGAIN):
        yield


def _empty_if_filled(path: Path) -> None:
    if _is_filled(path):
        truncate_wal(path)


def _is_filled(path: Path) -> bool:
    try:
        return Path(f"{os.path.realpath(path)}-wal").stat().st_size > 0
    except OSError:
        return False
