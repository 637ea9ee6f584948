"""Notifies every process of a committed change.

Uses PostgreSQL's LISTEN and NOTIFY. A notification carries no data: a process that gets it reads the database. Every
process also reads it at intervals, in case it missed one. Without PostgreSQL there are no notifications, only these
intervals.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Literal, get_args

from sqlalchemy import func, select

from backend.database.postgres import NotificationListener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from sqlalchemy.ext.asyncio import AsyncSession

    from backend.background import BackgroundTaskRunner

    ChangeCallback = Callable[[], Awaitable[object]]

log = logging.getLogger(__name__)

CHANNEL: Final = "patchbay_changes"
SECONDS: Final = 10.0
"""Seconds of listening after which the connection is checked."""

Topic = Literal["keys", "overrides", "tokens"]


async def announce_change(session: AsyncSession, topic: Topic) -> None:
    """Notify all processes, when the transaction is committed, that data of ``topic`` have changed.

    Does nothing with SQLite.
    """
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(select(func.pg_notify(CHANNEL, topic)))


class ChangeListener:
    """Listens for changes that other processes made in PostgreSQL, and calls the functions subscribed to them.

    Args:
        url: The URL of the PostgreSQL database; None for SQLite, where there are no notifications.
    """

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._looks: dict[str, list[ChangeCallback]] = defaultdict(list)

    def subscribe(self, topic: Topic, callback: ChangeCallback) -> None:
        """Have ``callback`` called after each change of ``topic``, and after each connect or reconnect.

        Notifications may have been missed while there was no connection.
        """
        self._looks[topic].append(callback)

    @asynccontextmanager
    async def listen(self, background: BackgroundTaskRunner) -> AsyncIterator[None]:
        """Listen for notifications, and call the callbacks, while the context lasts. Does nothing with SQLite."""
        if self._url is None:
            yield
            return
        notifications, over = NotificationListener(self._url, CHANNEL), asyncio.Event()

        async def hear() -> None:
            await _unless(over, self._hear(notifications))

        try:
            async with background.run_repeatedly("database.changes", hear, interval_s=0.05):
                try:
                    yield
                finally:
                    over.set()
        finally:
            await notifications.close()

    async def _hear(self, notifications: NotificationListener) -> None:
        """Listen for a while. On a new connection notifications may have been missed, so every callback is called."""
        if await notifications.connect():
            await self._look(*get_args(Topic))
        async for topic in notifications.receive_notifications(SECONDS):
            await self._look(topic)

    async def _look(self, *topics: str) -> None:
        looks = [look for topic in topics for look in self._looks[topic]]
        for outcome in await asyncio.gather(*(look() for look in looks), return_exceptions=True):
            if isinstance(outcome, Exception):
                log.error("database.changes.look_failed", exc_info=outcome)


async def _unless(over: asyncio.Event, work: Coroutine[object, object, None]) -> None:
    """Run ``work``, but cancel it when ``over`` is set."""
    working, ending = asyncio.ensure_future(work), asyncio.ensure_future(over.wait())
    try:
        await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        working.cancel()
        ending.cancel()
        await asyncio.wait({working})
