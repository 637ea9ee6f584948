"""Serves the application in this process on a listening socket."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import closing, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Final, Protocol

import uvicorn
from typing_extensions import override

from backend.main import create_app
from backend.protocol import make_uvicorn_config
from backend.routers.dependencies import LocalModelView
from backend.utils.llm import use
from backend.utils.llm.transport import AddressSource
from backend.watchers import Watchers

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from fastapi import FastAPI

    from backend.routers.stopping import GracefulStop
    from backend.settings import Settings
    from backend.utils.llm import Table

ENDING_SECONDS: Final = 2
"""Seconds that a stopped request has to end, before the server breaks it off."""
GRACE_SECONDS: Final = 3
"""Seconds that a stop waits for answers under way. Longer ones end with an error that says so."""


class Server:
    """Serves the application ``app`` with uvicorn. It can be started and stopped only once.

    Args:
        app: An application of `create_app`.
        leaving_seconds: For how many seconds after `stop` the server still accepts requests, but reports
            "not ready", so that a load balancer sends new requests elsewhere.
    """

    def __init__(self, app: FastAPI, leaving_seconds: float = 0.0) -> None:
        self._uvicorn = _Uvicorn(make_uvicorn_config(app, grace_seconds=GRACE_SECONDS + ENDING_SECONDS))
        self._app = app
        self._requests: GracefulStop = app.state.stop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaving_seconds = leaving_seconds
        self._is_stopping = False
        self._ends_at = math.inf

    @property
    def is_started(self) -> bool:
        """Whether the server has begun to accept requests. Stays true after a stop."""
        return self._uvicorn.started

    @property
    def is_stopping(self) -> bool:
        """Whether a stop has begun. New requests are still accepted for ``leaving_seconds``."""
        return self._is_stopping or self._uvicorn.should_exit

    def stop(self, grace_seconds: float) -> None:
        """Stop the server, and give requests in flight ``grace_seconds`` to end. Thread-safe.

        On the first call the server reports "not ready" for ``leaving_seconds`` before it stops. A further call
        skips that time.
        """
        is_first, self._is_stopping = not self.is_stopping, True
        if is_first and self._leaving_seconds and self._loop is not None:
            self.report_not_ready()
            with suppress(RuntimeError):  # it is closed: nobody is told any more
                self._loop.call_soon_threadsafe(self._end_later, grace_seconds)
                return
        self._end(grace_seconds)

    def report_not_ready(self) -> None:
        """Make the readiness check report "not ready", so that load balancers stop sending requests.

        Requests are still accepted. Thread-safe.
        """
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
        """Import and build everything that the first LLM calls need, and return when that is done.

        The server must be started.
        """
        await asyncio.to_thread(self._app.state.services.facade.warm_up)

    async def serve(self, listener: socket.socket) -> None:
        """Accept requests on ``listener`` until the server is stopped. Returns early if it cannot start."""
        self._loop = asyncio.get_running_loop()
        await self._uvicorn.serve(sockets=[listener])


class BuiltInModel(AddressSource, LocalModelView, Protocol):
    """The built-in local model: its address for LLM calls, and its state for pages."""


@contextmanager
def build_server(
    settings: Settings,
    table: Table,
    local_model: BuiltInModel,
    launch_token: str,
    leaving_seconds: float = 0.0,
) -> Iterator[Server]:
    """Build the application with its LLM clients and observers, and yield a `Server` for it.

    All are closed when the context ends.

    Args:
        settings: The application's settings.
        table: The table of features that the service serves.
        local_model: The built-in local model.
        launch_token: A further token of the first user, valid until the application stops.
        leaving_seconds: For how many seconds a stopping server still accepts requests. See `Server`.
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
