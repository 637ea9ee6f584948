"""An event loop in its own thread, for synchronous calls with two requests in flight."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import finalize

from typing_extensions import override

from ..forks import ForkSafe

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")
THREAD = "patchbay loop"
"""The thread's name."""
END_SECONDS = 2.0
"""The most seconds to wait for the thread to close its connections and end."""


class BackgroundLoop:
    """An event loop in a background thread. The loop ends when this object is garbage-collected."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, stop: asyncio.Event, thread: threading.Thread
    ) -> None:
        self._loop = loop
        self._thread = thread
        finalize(self, _end, loop, stop, thread, os.getpid())

    @property
    def runs_in_current_thread(self) -> bool:
        """Whether the current thread is the loop's own thread, which must not wait for the loop."""
        return threading.current_thread() is self._thread

    def run(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Run the coroutine ``work`` on the loop, and block this thread until it has ended.

        ``work`` gets a copy of the caller's context. It is cancelled if an exception interrupts the wait.

        Returns:
            The result. On the loop's own thread ``work`` is only started, and None is returned.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        if self.runs_in_current_thread:
            return None
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise
        finally:
            del future, work  # an error would hold this frame, and this frame the error


class SharedBackgroundLoop(ForkSafe):
    """The background event loop that all hedged synchronous calls of a `Patchbay` share.

    It is started for the first such call. Its connections are closed when it ends.
    """

    @override
    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._running: BackgroundLoop | None = None

    def get_loop(self) -> BackgroundLoop:
        """Return the loop; start it if needed. It runs at least as long as the caller holds the returned object."""
        with self._lock:
            if self._running is None:
                self._running = self._started()
            return self._running

    def close(self) -> None:
        """Let the loop end as soon as no call uses it. A later call starts a new loop."""
        with self._lock:
            running, self._running = self._running, None
        del running  # outside the lock: its end may be waited for

    def _started(self) -> BackgroundLoop:
        ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        thread = threading.Thread(target=_serve, args=(ready.set_result,), name=THREAD, daemon=True)
        thread.start()
        return BackgroundLoop(*ready.result(), thread)


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
