from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from backend.database.engine import make_engine
from backend.database.migrations import upgrade

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

Sessions = async_sessionmaker[AsyncSession]


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    made = make_engine(tmp_path / "data" / "patchbay.sqlite3")
    yield made
    await made.dispose()


@pytest.fixture
async def sessions(engine: AsyncEngine) -> Sessions:
    await upgrade(engine)
    return async_sessionmaker(engine)
