"""Lets concurrent callers share one call and its result, so that an expensive call is not repeated."""

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
    """Shares one running call among all callers, and reuses its result for a short time.

    A new call is made only if the last call has ended and its result is too old.

    Attributes:
        fresh: For how many seconds a result is reused, counted from the beginning of its call.
        wait: The longest time, in seconds, that a caller waits for a result. A call that takes longer
            continues in the background.
        clock: The monotonic clock, in seconds.
    """

    fresh: float
    wait: float
    clock: Callable[[], float] = time.monotonic
    _flight: asyncio.Future[T] | None = field(default=None, init=False)
    _began_at: float = field(default=0.0, init=False)

    async def wait_for_result(self, call: Callable[[], Awaitable[T]]) -> asyncio.Future[T] | None:
        """Wait for the shared call, and return its completed future, which holds the result or the exception.

        Args:
            call: Starts a new call. Used only if no call is running and the last result is too old.

        Returns:
            The completed future; None if the call is still running after ``wait`` seconds.
        """
        if self._flight is None or (self._flight.done() and self.clock() - self._began_at >= self.fresh):
            self._began_at = self.clock()
            self._flight = asyncio.ensure_future(call())
        done, _ = await asyncio.wait([self._flight], timeout=self.wait)
        return self._flight if done else None
