"""The connection to the embedded database."""

from __future__ import annotations

import logging
import sqlite3
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import create_async_engine

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine


_SWITCHES: Final = 20


def make_engine(path: Path) -> AsyncEngine:
    """An engine on the SQLite file ``path``, which is made when it is first used.

    The folder of the file is made too, for its owner alone. Whoever makes the engine disposes of it.

    Raises:
        OSError: If the folder cannot be made.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # What is stored is people's words: no error repeats them, and no log, at DEBUG either.
    logging.getLogger("aiosqlite").setLevel(logging.INFO)
    engine = create_async_engine(URL.create("sqlite+aiosqlite", database=str(path)), hide_parameters=True)
    event.listen(engine.sync_engine, "connect", _prepare)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    try:
        _use_wal(cursor)
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten: sealed keys, for one
    finally:
        cursor.close()


def _use_wal(cursor: Any) -> None:
    """Write-ahead logging, also while another process is switching to it.

    SQLite refuses the switch at once then, whatever the time-out; for a transaction it waits. So wait with one.
    """
    for _ in range(_SWITCHES):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("ROLLBACK")
        else:
            return
    cursor.execute("PRAGMA journal_mode = WAL")
