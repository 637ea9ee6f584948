"""Each test of this folder runs on both databases."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backend.database.engine import make_engine
from backend.database.postgres import make_postgres_engine
from backend.database.transactions import TransactionRunner, get_transaction_runner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine


@pytest.fixture(params=["sqlite", "postgresql"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    """A database with all tables."""
    if request.param == "sqlite":
        sqlite = make_engine(Path(shutil.copy(request.getfixturevalue("with_tables"), tmp_path)))
        yield sqlite
        await sqlite.dispose()
        return
    with request.getfixturevalue("postgres").database() as url:
        made = make_postgres_engine(url)
        yield made
        await made.dispose()


@pytest.fixture
def transacting(engine: AsyncEngine) -> TransactionRunner:
    """On the same database."""
    return get_transaction_runner(engine)
