"""Clocks, sleep and chance, handed to whoever needs them, so that tests can live in a time of their own."""

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
    """Time and chance.

    Attributes:
        now: The wall clock, timezone-aware.
        clock: The monotonic clock, in seconds.
        sleep: Blocks for so many seconds.
        asleep: Awaits so many seconds.
        random: From 0 up to, not including, 1; for the jitter of waits.
    """

    now: Callable[[], datetime] = _now
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    asleep: Callable[[float], Awaitable[None]] = _asleep
    random: Callable[[], float] = random.random
