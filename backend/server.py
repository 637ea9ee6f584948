"""Serves the application in this process, on a listening socket."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import closing, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Final, Protocol

import uvicorn
from typing_extensions import override

from backend.main import create_app
from backend.protocol import configured
from backend.routers.dependencies import LocalModelView
from backend.utils.llm import use
from backend.utils.llm.transport import LiveAddress
from backend.watchers import Watchers

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from fastapi import FastAPI

    from backend.routers.stopping import Stop
    from backend.settings import Settings
    from backend.utils.llm import Table

ENDING_SECONDS: Final = 2
"""Seconds that a stopped request has to end, before the server breaks it off."""
GRACE_SECONDS: Final = 3
"""Seconds that a stop waits for answers under way. Longer ones end with an error that says so."""


class Server:
    """Serves the application ``app`` with uvicorn, once.

    Args:
        app: An application of `create_app`.
        leaving_seconds: Seconds before a stop in which the server still accepts requests but reports that it is not
            ready, so that a load balancer sends them elsewhere.
    """

    def __init__(self, app: FastAPI, leaving_seconds: float = 0.0) -> None:
        self._uvicorn = _Uvicorn(configured(app, grace_seconds=GRACE_SECONDS + ENDING_SECONDS))
        self._app = app
        self._requests: Stop = app.state.stop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaving_seconds = leaving_seconds
        self._is_stopping = False
        self._ends_at = math.inf

    @property
    def is_started(self) -> bool:
        """Whether the server has started to accept requests. Stays true after a stop."""
        return self._uvicorn.started

    @property
    def is_stopping(self) -> bool:
        """Whether a stop has begun. Requests may still be accepted for ``leaving_seconds``."""
        return self._is_stopping or self._uvicorn.should_exit

    def stop(self, seconds: float) -> None:
        """Stop gracefully, leaving ``seconds`` to requests in flight. Thread-safe.

        At first it reports that it is not ready for ``leaving_seconds``; a second call stops at once.
        """
        is_first, self._is_stopping = not self.is_stopping, True
        if is_first and self._leaving_seconds and self._loop is not None:
            self.leave()
            with suppress(RuntimeError):  # it is closed: nobody is told any more
                self._loop.call_soon_threadsafe(self._end_later, seconds)
                return
        self._end(seconds)

    def leave(self) -> None:
        """Report "not ready" from now on, while requests are still accepted, so that load balancers go elsewhere. Thread-safe."""
        self._requests.is_leaving = True

    def _end_later(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(self._leaving_seconds, self._end, seconds)

    def _end(self, seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        if ends_at >= self._ends_at:
            return  # it ends sooner than that
        self._ends_at = ends_at
        self._uvicorn.config.timeout_graceful_shutdown = math.ceil(seconds) + ENDING_SECONDS
        self._uvicorn.should_exit = True
        if self._loop is not None:
            with suppress(RuntimeError):  # it is closed: nothing is under way
                self._loop.call_soon_threadsafe(self._requests.begin, seconds)

    async def warm_up(self) -> None:
        """Wait until everything that the first LLM calls need is imported and built. The server must be started."""
        await asyncio.to_thread(self._app.state.services.facade.warm_up)

    async def serve(self, listener: socket.socket) -> None:
        """Serve until the server is stopped, or cannot start."""
        self._loop = asyncio.get_running_loop()
        await self._uvicorn.serve(sockets=[listener])


class BuiltInModel(LiveAddress, LocalModelView, Protocol):
    """The embedded local model: its address for calls, and its state for the pages that show it."""


@contextmanager
def composed_server(
    settings: Settings,
    table: Table,
    local_model: BuiltInModel,
    launch_token: str,
    leaving_seconds: float = 0.0,
) -> Iterator[Server]:
    """Build the application with its LLM client and observers, and yield a `Server` of it; close everything when the context ends.

    Args:
        settings: The application's settings.
        table: The table of features that the service serves.
        local_model: The built-in model.
        launch_token: See `create_app`.
        leaving_seconds: See `Server`.
    """
    watchers = Watchers.of(settings)
    patchbay = watchers.facade(table, live={"local": local_model})
    with watchers.spool, use(patchbay), closing(patchbay):
        app = create_app(
            settings,
            patchbay=patchbay,
            local_model=local_model,
            launch_token=launch_token,
            watchers=watchers,
        )
        yield Server(app, leaving_seconds)


class _Uvicorn(uvicorn.Server):
    """uvicorn's server without its signal handling, which would raise signals again at its end and skip our own cleanup."""

    @override
    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()
