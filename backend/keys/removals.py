"""Notices that users' keys were removed, here or by another process, so that running work stops using them.

A new request reads its user's keys from the store. This module is for streams, WebSockets and background
work, which hold keys that they read earlier.
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

    from backend.background import BackgroundRunner

    from .store import KeyStore

LOOK: Final = 0.4
"""Seconds between two polls for keys that other processes removed."""
BLIND: Final = 30.0
"""Seconds without a successful poll after which no key handed out before is used."""
_REMEMBERED: Final = 100_000


class KeyRemovalTracker:
    """Knows which users' keys were removed lately by any process, from polling the key store.

    Long-running work, such as streams, uses it to stop using a key that its user has removed.
    """

    def __init__(self, store: KeyStore, time: Time | None = None) -> None:
        self._store = store
        self._time = time or Time()
        self._ends: OrderedDict[str, datetime] = OrderedDict()
        self._last = 0
        self._lost = 0
        self._looked_at: float | None = None

    def make_removal_check(self, row: str) -> Callable[[], bool]:
        """Return a function that tells whether a key has been removed since this call.

        The function also returns True if nobody can know, because polling fails or removals were missed.

        Args:
            row: The id of the key's database row.
        """
        return partial(self._is_over, row, self._lost)

    async def poll(self) -> None:
        """Read from the store the removals that are new since the last read."""
        for number, row, at in await self._store.list_removals(self._last):
            if self._last and number > self._last + 1:
                self._lost += 1
            self._ends[row] = min(at, self._ends.get(row, at))
            self._last = number
        while len(self._ends) > _REMEMBERED:
            self._ends.popitem(last=False)
            self._lost += 1

    @asynccontextmanager
    async def poll_periodically(self, background: BackgroundRunner) -> AsyncIterator[None]:
        """Poll the store while the context lasts, so that each removal is known within half a second."""
        await self._look()
        async with background.run_repeatedly("keys.removals", self._look, every=LOOK):
            yield

    def _is_over(self, row: str, lost: int) -> bool:
        is_blind = self._looked_at is not None and self._time.clock() - self._looked_at > BLIND
        ends = self._ends.get(row)
        return is_blind or self._lost > lost or (ends is not None and self._time.now() >= ends)

    async def _look(self) -> None:
        await self.poll()
        self._looked_at = self._time.clock()
