"""A virtual clock for tests, which advances only while a call sleeps, so that long waits take no real time."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

from typing_extensions import override

from ..clock import Time
from ..forks import ForkSafe

_START = datetime(2026, 11, 21, 12, tzinfo=UTC)


class VirtualTime(ForkSafe):
    """A virtual clock for tests, which advances only by sleeps: ``Patchbay(time=VirtualTime().time)``.

    Args:
        random: The value of every random number: with 0.5, a wait with full jitter is half of its maximum.

    Attributes:
        slept: The seconds of each sleep, in order.
    """

    def __init__(self, random: float = 0.5) -> None:
        self.slept: list[float] = []
        self._random = random
        self._passed = 0.0
        super().__init__()

    @override
    def _begin(self) -> None:
        self._lock = threading.Lock()

    @property
    def time(self) -> Time:
        """The `Time` to pass to a `Patchbay`, made of this object's clocks, sleeps and random number."""
        return Time(self.now, self.clock, self.sleep, self.asleep, lambda: self._random)

    def now(self) -> datetime:
        """Return the virtual date and time, which start at noon UTC on 2026-11-21."""
        return _START + timedelta(seconds=self._passed)

    def clock(self) -> float:
        """Return the virtual monotonic clock, in seconds, which starts at 0."""
        return self._passed

    def sleep(self, seconds: float) -> None:
        """Advance the virtual clocks by ``seconds`` and return immediately."""
        with self._lock:
            self.slept.append(seconds)
            self._passed += seconds

    async def asleep(self, seconds: float) -> None:
        """The asyncio version of `sleep`: advance the virtual clocks, and let other tasks run once."""
        self.sleep(seconds)
        await asyncio.sleep(0)
