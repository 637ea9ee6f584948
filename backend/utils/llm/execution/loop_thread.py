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
    def is_current_thread(self) -> bool:
        """Whether the caller runs on the loop's own thread, which must not wait for the loop."""
        return threading.current_thread() is self._thread

    def run(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Run the coroutine ``work`` on the loop, and block this thread until it has returned its result.

        ``work`` runs in a copy of the caller's context. An exception raised into the waiting thread cancels it.

        Returns:
            The result. None on the loop's own thread, where ``work`` is only started, for example to finalise an
            abandoned stream.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        if self.is_current_thread:
            return None
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise
        finally:
            del future, work  # an error would hold this frame, and this frame the error


class LoopThread(ForkSafe):
    """Starts and keeps the one background event loop that all hedged synchronous calls of a `Patchbay` share.

    The loop is started when the first call needs it. Its connections are closed with it.
    """

    @override
    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._running: BackgroundLoop | None = None

    def get_loop(self) -> BackgroundLoop:
        """Return the loop, started if needed. It runs at least as long as the caller holds the returned object."""
        with self._lock:
            if self._running is None:
                self._running = self._started()
            return self._running

    def close(self) -> None:
        """Release the loop: it ends as soon as no call uses it. A later call starts a new loop."""
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
