"""Clocks, sleep and random numbers, passed as an argument, so that tests can use a virtual time."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


_now = partial(datetime.now, UTC)


async def _asleep(seconds: float) -> None:
    import asyncio  # 30 ms that a process without calls need not spend

    await asyncio.sleep(seconds)


@dataclass(frozen=True)
class Time:
    """The clocks, the sleep functions and the random numbers that the code uses; tests pass virtual ones.

    Attributes:
        now: The wall clock, timezone-aware.
        clock: The monotonic clock, in seconds.
        sleep: Blocks the thread for the given seconds.
        asleep: Waits the given seconds without blocking the event loop.
        random: A random number, at least 0 and less than 1, for the jitter of waits.
    """

    now: Callable[[], datetime] = _now
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    asleep: Callable[[float], Awaitable[None]] = _asleep
    random: Callable[[], float] = random.random
