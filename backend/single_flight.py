"""One call for all who want its result at the same time, and soon after."""

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
    """Makes a call again only when the last one is over and its result is no longer fresh.

    Attributes:
        fresh: The seconds for which a result is cached, since its call began.
        wait: The seconds for which a result is awaited. A call that takes longer goes on, and is not made a second time.
        clock: Monotonic seconds.
    """

    fresh: float
    wait: float
    clock: Callable[[], float] = time.monotonic
    _flight: asyncio.Future[T] | None = field(default=None, init=False)
    _began_at: float = field(default=0.0, init=False)

    async def ended(self, call: Callable[[], Awaitable[T]]) -> asyncio.Future[T] | None:
        """The call that has ended, with its result or error; None if it still runs after `wait` seconds."""
        if self._flight is None or (self._flight.done() and self.clock() - self._began_at >= self.fresh):
            self._began_at = self.clock()
            self._flight = asyncio.ensure_future(call())
        done, _ = await asyncio.wait([self._flight], timeout=self.wait)
        return self._flight if done else None
