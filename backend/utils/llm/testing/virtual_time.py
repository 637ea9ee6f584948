"""A virtual clock that advances only while a caller sleeps, so that hours of waiting take no real time."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

from typing_extensions import override

from ..clock import Time
from ..forks import PerProcess

_START = datetime(2026, 11, 21, 12, tzinfo=UTC)


class VirtualTime(PerProcess):
    """A virtual clock: ``Patchbay(time=VirtualTime().time)``.

    Args:
        random: The value of every random number: with 0.5, a wait with full jitter is half of its bound.

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
        """The `Time` to pass to a `Patchbay`: the clocks, sleeps and random number of this object."""
        return Time(self.now, self.clock, self.sleep, self.asleep, lambda: self._random)

    def now(self) -> datetime:
        """The wall clock, which starts at 2026-11-21, noon UTC."""
        return _START + timedelta(seconds=self._passed)

    def clock(self) -> float:
        """The monotonic clock, in seconds, which starts at 0."""
        return self._passed

    def sleep(self, seconds: float) -> None:
        """Advance the clock by ``seconds``, at once."""
        with self._lock:
            self.slept.append(seconds)
            self._passed += seconds

    async def asleep(self, seconds: float) -> None:
        """Advance the clock by ``seconds``, and let the other tasks of the event loop run once."""
        self.sleep(seconds)
        await asyncio.sleep(0)
