from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from backend.database.engine import make_engine
from backend.database.postgres import make_postgres_engine
from backend.database.transactions import TransactionRunner, get_transaction_runner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from backend.tests.fakes.postgres import Postgres

Sessions = async_sessionmaker[AsyncSession]


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    made = make_engine(tmp_path / "data" / "patchbay.sqlite3")
    yield made
    await made.dispose()


@pytest.fixture
def sqlite_sessions(engine: AsyncEngine, tmp_path: Path, with_tables: Path) -> Sessions:
    """On ``engine``, with all tables."""
    (tmp_path / "data" / "patchbay.sqlite3").write_bytes(with_tables.read_bytes())
    return async_sessionmaker(engine)


@pytest.fixture
async def postgresql_sessions(postgres: Postgres) -> AsyncIterator[Sessions]:
    """On a database of the server, with all tables."""
    with postgres.database() as url:
        made = make_postgres_engine(url)
        yield async_sessionmaker(made)
        await made.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def sessions(request: pytest.FixtureRequest) -> Sessions:
    """On a database of each kind, with all tables."""
    made: Sessions = request.getfixturevalue(f"{request.param}_sessions")
    return made


@pytest.fixture
def sqlite_transactions(sqlite_sessions: Sessions) -> TransactionRunner:
    return get_transaction_runner(sqlite_sessions.kw["bind"])


@pytest.fixture
def postgresql_transactions(postgresql_sessions: Sessions) -> TransactionRunner:
    return get_transaction_runner(postgresql_sessions.kw["bind"])
