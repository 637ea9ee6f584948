"""What one process changes, another hears of."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker

from backend.background import BackgroundTaskRunner
from backend.database.changes import ChangeListener, announce_change
from backend.database.postgres import make_postgres_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sqlalchemy.ext.asyncio import AsyncSession

    from backend.tests.fakes.postgres import Postgres

    Sessions = async_sessionmaker[AsyncSession]

LONG = 20.0
CUT_OFF = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"


class Heard:
    """Counts looks, and lets a test wait for them."""

    def __init__(self, changes: ChangeListener) -> None:
        self.looks: Counter[str] = Counter()
        self._come = asyncio.Condition()
        for topic in ("keys", "overrides", "tokens"):
            changes.subscribe(topic, lambda topic=topic: self._look(topic))  # type: ignore[misc]

    async def _look(self, topic: str) -> None:
        async with self._come:
            self.looks[topic] += 1
            self._come.notify_all()

    async def until(self, **looks: int) -> None:
        async with asyncio.timeout(LONG), self._come:
            await self._come.wait_for(lambda: Counter(looks) <= self.looks)


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    with postgres.database() as url:
        yield url


@asynccontextmanager
async def other(url: str) -> AsyncIterator[Sessions]:
    """Another process, as far as the database can tell."""
    engine = make_postgres_engine(url)
    yield async_sessionmaker(engine)
    await engine.dispose()


async def test_what_is_committed_elsewhere_is_heard_and_nothing_else(url: str) -> None:
    changes = ChangeListener(url)
    heard = Heard(changes)

    async with other(url) as sessions, changes.listen(BackgroundTaskRunner()):
        await heard.until(keys=1, overrides=1, tokens=1)  # on a new connection all look once
        async with sessions() as session:
            await announce_change(session, "keys")
            await session.rollback()
        for _ in range(3):
            async with sessions.begin() as session:
                await announce_change(session, "tokens")
            await asyncio.sleep(0)
        await heard.until(tokens=4)

    assert heard.looks == {"keys": 1, "overrides": 1, "tokens": 4}


async def test_after_a_lost_connection_all_look_for_what_they_missed(url: str, postgres: Postgres) -> None:
    changes = ChangeListener(url)
    heard = Heard(changes)

    async with changes.listen(BackgroundTaskRunner()):
        await heard.until(overrides=1)
        name = url.partition("@/")[2].partition("?")[0]
        await asyncio.to_thread(postgres.run, CUT_OFF.format(name=name))
        await heard.until(keys=2, overrides=2, tokens=2)


async def test_a_look_that_fails_keeps_nobody_else_from_looking(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    changes = ChangeListener(url)

    async def fail() -> None:
        raise RuntimeError("broken")

    changes.subscribe("keys", fail)
    heard = Heard(changes)

    async with changes.listen(BackgroundTaskRunner()):
        await heard.until(keys=1)

    assert "database.changes.look_failed" in caplog.text


async def test_without_postgresql_nothing_is_announced_and_nobody_listens(sqlite_sessions: Sessions) -> None:
    changes = ChangeListener(None)
    heard = Heard(changes)

    async with changes.listen(BackgroundTaskRunner()), sqlite_sessions.begin() as session:
        await announce_change(session, "tokens")

    assert not heard.looks
