"""Shares one call among all callers that want its result at the same time, or soon after."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


@dataclass(slots=True)
class SingleFlight(Generic[T]):
    """Makes a new call only when the last one has ended and its result is no longer fresh.

    Attributes:
        fresh: The seconds, from the beginning of a call, for which its result is cached.
        wait: The most seconds to wait for a result. A call that takes longer continues, and is not made a second time.
        clock: The monotonic clock, in seconds.
    """

    fresh: float
    wait: float
    clock: Callable[[], float] = time.monotonic
    _flight: asyncio.Future[T] | None = field(default=None, init=False)
    _began_at: float = field(default=0.0, init=False)

    async def ended(self, call: Callable[[], Awaitable[T]]) -> asyncio.Future[T] | None:
        """The last call, with its result or error, once it has ended; None if it still runs after `wait` seconds."""
        if self._flight is None or (self._flight.done() and self.clock() - self._began_at >= self.fresh):
            self._began_at = self.clock()
            self._flight = asyncio.ensure_future(call())
        done, _ = await asyncio.wait([self._flight], timeout=self.wait)
        return self._flight if done else None
