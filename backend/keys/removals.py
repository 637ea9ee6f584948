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

    from backend.background import BackgroundTaskRunner

    from .store import KeyStore

LOOK: Final = 0.4
"""Seconds between two polls for keys that other processes removed."""
BLIND: Final = 30.0
"""Seconds without a successful poll after which no key handed out before is used."""
_REMEMBERED: Final = 100_000


class KeyRemovalTracker:
    """Polls the key store for removals of users' keys by any process.

    With it, long-running work, such as a stream, stops using a key that its user has removed.
    """

    def __init__(self, store: KeyStore, time: Time | None = None) -> None:
        self._store = store
        self._time = time or Time()
        self._ends: OrderedDict[str, datetime] = OrderedDict()
        self._last = 0
        self._lost = 0
        self._looked_at: float | None = None

    def make_removal_check(self, row_id: str) -> Callable[[], bool]:
        """Return a function that tells whether the key version ``row_id`` has been removed since this call.

        The function also returns True if that is unknown, because polling fails or removals were missed.
        """
        return partial(self._is_over, row_id, self._lost)

    async def poll_removals(self) -> None:
        """Read from the store the removals that are new since the last poll."""
        for number, row, at in await self._store.list_removals(self._last):
            if self._last and number > self._last + 1:
                self._lost += 1
            self._ends[row] = min(at, self._ends.get(row, at))
            self._last = number
        while len(self._ends) > _REMEMBERED:
            self._ends.popitem(last=False)
            self._lost += 1

    @asynccontextmanager
    async def poll_periodically(self, background: BackgroundTaskRunner) -> AsyncIterator[None]:
        """Poll the store while the context lasts, so that a removal by any process is known within half a second."""
        await self._look()
        async with background.run_repeatedly("keys.removals", self._look, interval_s=LOOK):
            yield

    def _is_over(self, row: str, lost: int) -> bool:
        is_blind = self._looked_at is not None and self._time.clock() - self._looked_at > BLIND
        ends = self._ends.get(row)
        return is_blind or self._lost > lost or (ends is not None and self._time.now() >= ends)

    async def _look(self) -> None:
        await self.poll_removals()
        self._looked_at = self._time.clock()
