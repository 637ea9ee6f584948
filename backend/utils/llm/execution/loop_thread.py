"""An event loop in a thread of its own, for synchronous calls with two requests in flight."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import finalize

from typing_extensions import override

from ..forks import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")
THREAD = "patchbay loop"
"""The thread's name."""
END_SECONDS = 2.0
"""The most seconds to wait for the thread to close its connections and end."""


class RunningLoop:
    """An event loop that runs until this object is garbage-collected."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, stop: asyncio.Event, thread: threading.Thread
    ) -> None:
        self._loop = loop
        self._thread = thread
        finalize(self, _end, loop, stop, thread, os.getpid())

    @property
    def is_here(self) -> bool:
        """Whether this code runs on the loop's own thread, which must not block to wait for the loop."""
        return threading.current_thread() is self._thread

    def run(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Run ``work`` on the loop in a copy of this context, and return its result; blocks this thread meanwhile.

        An exception raised into the waiting thread cancels ``work``. On the loop's own thread, where an abandoned stream
        may be finalised, ``work`` is only started, and the result is None.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        if self.is_here:
            return None
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise
        finally:
            del future, work  # an error would hold this frame, and this frame the error


class LoopThread(PerProcess):
    """The event loop of one patchbay's synchronous calls, started when the first of them needs it.

    All of these calls share one loop and its connections, which are closed with it.
    """

    @override
    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._running: RunningLoop | None = None

    def get(self) -> RunningLoop:
        """Return the running loop, and start it if needed; it does not end while the caller holds it."""
        with self._lock:
            if self._running is None:
                self._running = self._started()
            return self._running

    def close(self) -> None:
        """End the loop as soon as no call uses it. The next call that needs a loop starts a new one."""
        with self._lock:
            running, self._running = self._running, None
        del running  # outside the lock: its end may be waited for

    def _started(self) -> RunningLoop:
        ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        thread = threading.Thread(target=_serve, args=(ready.set_result,), name=THREAD, daemon=True)
        thread.start()
        return RunningLoop(*ready.result(), thread)


def _serve(ready: Callable[[tuple[asyncio.AbstractEventLoop, asyncio.Event]], None]) -> None:
    async def serve() -> None:
        stop = asyncio.Event()
        ready((asyncio.get_running_loop(), stop))
        await stop.wait()

    asyncio.run(serve())


def _end(
    loop: asyncio.AbstractEventLoop, stop: asyncio.Event, thread: threading.Thread, process: int
) -> None:
    if os.getpid() != process:
        return  # a forked child's copy: the loop is its parent's
    with suppress(RuntimeError):  # it is closed
        loop.call_soon_threadsafe(stop.set)
    if thread is not threading.current_thread():
        thread.join(END_SECONDS)
