"""A value that another thread sets. Waiting for it has a deadline, and blocks no event loop."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

NEXT_LOOK_SECONDS = 0.005
"""Seconds until the next check after a store's patience has run out: this process itself may have been slow."""

MOST_LOOKS = 200


class SingleWaiterFuture(Generic[T]):
    """A value that any thread sets once, and that a single thread or task waits for.

    It costs less than a `Future`, which allows many waiters.

    Attributes:
        value: The value; None until it is set.
    """

    __slots__ = ("_wake", "is_set", "value")

    def __init__(self) -> None:
        self.is_set = False
        self.value: T | None = None
        self._wake: Callable[[], None] | None = None

    def set(self, value: T | None) -> None:
        """Set the value, and wake the waiting thread or task."""
        self.value, self.is_set = value, True
        if self._wake is not None:
            self._wake()

    def wait(self, seconds: float) -> bool:
        """Block the thread until the value is set, but at most ``seconds``. Returns whether it was set."""
        woken = threading.Lock()
        woken.acquire()
        self._wake = woken.release
        if not self.is_set:  # looked at last: what is set from now on wakes
            woken.acquire(timeout=seconds)
        return self.is_set

    async def wait_async(self, seconds: float) -> bool:
        """Wait like `wait`, without blocking the event loop."""
        loop = asyncio.get_running_loop()
        woken = loop.create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        def wake_from_thread() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(wake)

        self._wake = wake_from_thread
        if not self.is_set:  # as above
            timer = loop.call_later(seconds, wake)
            try:
                await woken
            finally:
                timer.cancel()
        return self.is_set
