"""Which keys were removed, here or by another process: also what is under way does without them from then on.

A request reads its user's keys itself, and needs nothing of this. It is for what lasts: a stream, a WebSocket, work that goes
on after its request, each with a key that it was lent before.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .store import KeyStore

log = logging.getLogger(__name__)

LOOK: Final = 0.4
"""Seconds from one look at what other processes removed to the next."""
_REMEMBERED: Final = 100_000


class Removals:
    """The rows of keys that were removed lately."""

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._rows: OrderedDict[str, None] = OrderedDict()
        self._last = 0
        self._is_blind = False

    def __contains__(self, row: object) -> bool:
        return row in self._rows

    async def catch_up(self) -> None:
        """See what was removed up to now."""
        for number, row in await self._store.removed(self._last):
            self._rows[row] = None
            self._last = max(self._last, number)
        while len(self._rows) > _REMEMBERED:
            self._rows.popitem(last=False)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """See what is removed from now on, within half a second."""
        await self.catch_up()
        task = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            try:
                await self.catch_up()
            except Exception:
                if not self._is_blind:
                    log.exception("keys.removals_not_seen")
                self._is_blind = True
            else:
                self._is_blind = False
