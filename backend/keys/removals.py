"""Notices which keys were removed, here or by another process, so that running work stops using them.

A new request reads its user's keys from the store. This module is for streams, WebSockets and work after a request,
which
hold keys that they read earlier.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from backend.utils.llm.clock import Time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from backend.background import Background

    from .store import KeyStore

LOOK: Final = 0.4
"""Seconds between two polls for keys that other processes removed."""
BLIND: Final = 30.0
"""Seconds without a successful poll after which no key handed out before is used."""
_REMEMBERED: Final = 100_000


class Removals:
    """The keys that any process has removed lately, kept up to date by polling the store."""

    def __init__(self, store: KeyStore, time: Time | None = None) -> None:
        self._store = store
        self._time = time or Time()
        self._ends: OrderedDict[str, datetime] = OrderedDict()
        self._last = 0
        self._lost = 0
        self._looked_at: float | None = None

    def follow(self, row: str) -> Callable[[], bool]:
        """Return a function that tells whether the key in the database row ``row`` has been removed since this call.

        It also returns True when that cannot be known, because polling fails or removals were missed.
        """
        return partial(self._is_over, row, self._lost)

    async def level_up(self) -> None:
        """Read the removals that are new since the last poll from the store."""
        for number, row, at in await self._store.removed(self._last):
            if self._last and number > self._last + 1:
                self._lost += 1
            self._ends[row] = min(at, self._ends.get(row, at))
            self._last = number
        while len(self._ends) > _REMEMBERED:
            self._ends.popitem(last=False)
            self._lost += 1

    @asynccontextmanager
    async def polling(self, background: Background) -> AsyncIterator[None]:
        """Poll the store for removals while the context lasts; each removal is noticed within half a second."""
        await self._look()
        async with background.repeating("keys.removals", self._look, every=LOOK):
            yield

    def _is_over(self, row: str, lost: int) -> bool:
        is_blind = self._looked_at is not None and self._time.clock() - self._looked_at > BLIND
        ends = self._ends.get(row)
        return is_blind or self._lost > lost or (ends is not None and self._time.now() >= ends)

    async def _look(self) -> None:
        await self.level_up()
        self._looked_at = self._time.clock()
