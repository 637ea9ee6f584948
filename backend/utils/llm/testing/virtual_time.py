"""A time that passes only while somebody sleeps, so that hours of waiting are over at once."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

from typing_extensions import override

from ..clock import Time
from ..forks import PerProcess

_START = datetime(2026, 11, 21, 12, tzinfo=UTC)


class VirtualTime(PerProcess):
    """``Patchbay(time=VirtualTime().time)``.

    Args:
        random: What chance gives, each time: 0.5 makes a wait with full jitter half of its bound.

    Attributes:
        slept: Every sleep, in seconds, in order.
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
        """Clocks that show this time, sleeps that let it pass."""
        return Time(self.now, self.clock, self.sleep, self.asleep, lambda: self._random)

    def now(self) -> datetime:
        """The wall clock: 2026-11-21, noon UTC, at the start."""
        return _START + timedelta(seconds=self._passed)

    def clock(self) -> float:
        """The monotonic clock: 0 at the start."""
        return self._passed

    def sleep(self, seconds: float) -> None:
        """Move the clock ``seconds`` on, at once."""
        with self._lock:
            self.slept.append(seconds)
            self._passed += seconds

    async def asleep(self, seconds: float) -> None:
        """See `sleep`. Whoever else has something to do on the loop does it meanwhile."""
        self.sleep(seconds)
        await asyncio.sleep(0)
