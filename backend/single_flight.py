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
    """Shares one running call, and for a short time its result, among all callers.

    A new call is made only if the last one has ended and its result is no longer fresh.

    Attributes:
        fresh: For how many seconds, counted from the beginning of a call, its result is used again.
        wait: The most seconds that a caller waits for a result. A call that takes longer goes on, and is not made a second time.
        clock: The monotonic clock, in seconds.
    """

    fresh: float
    wait: float
    clock: Callable[[], float] = time.monotonic
    _flight: asyncio.Future[T] | None = field(default=None, init=False)
    _began_at: float = field(default=0.0, init=False)

    async def ended(self, call: Callable[[], Awaitable[T]]) -> asyncio.Future[T] | None:
        """Wait for the shared call, and return it once it has ended, with its result or its error.

        Returns None if the call still runs after `wait` seconds.

        Args:
            call: Starts a new call. Used only if no call is running and there is no fresh result.
        """
        if self._flight is None or (self._flight.done() and self.clock() - self._began_at >= self.fresh):
            self._began_at = self.clock()
            self._flight = asyncio.ensure_future(call())
        done, _ = await asyncio.wait([self._flight], timeout=self.wait)
        return self._flight if done else None
