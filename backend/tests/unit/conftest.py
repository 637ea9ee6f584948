from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from backend.database.engine import open_and_migrate_sqlite

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def with_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of SQLite's with all tables, which tests copy."""
    path = tmp_path_factory.mktemp("template") / "patchbay.sqlite3"

    async def make() -> None:
        async with open_and_migrate_sqlite(path):
            pass

    with ThreadPoolExecutor(1) as apart:  # a loop may be running here
        apart.submit(asyncio.run, make()).result()
    return path
