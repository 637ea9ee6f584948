"""Ends requests that would outlast the server's stop, with an error that says so."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.wires.sse import encode_json_event

from .event_stream import STOPPING_EVENT

STOPPING: Final[Mapping[str, Any]] = {
    "code": "server_stopping",
    "message": "The server is stopping. Ask again in a moment.",
}


class GracefulStop:
    """The graceful stop of one server: gives requests in flight a deadline.

    Attributes:
        hurry: An event that is set when requests in flight get no more time.
        is_leaving: Whether a stop is about to begin. The readiness check then reports that the server is not
            ready.
    """

    def __init__(self) -> None:
        self.hurry = asyncio.Event()
        self.is_leaving = False
        self._until: float | None = None
        self._running: set[asyncio.Timeout] = set()

    def begin(self, grace_seconds: float) -> None:
        """Begin the stop: end requests in flight after ``grace_seconds``. A further call sets a new deadline.

        With 0 seconds, ends them at once and sets ``hurry``. Call this on the event loop of the requests.
        """
        if grace_seconds <= 0:
            self.hurry.set()
        self._until = asyncio.get_running_loop().time() + grace_seconds
        for running in self._running:
            if not running.expired():
                running.reschedule(self._until)

    @contextmanager
    def apply_deadline(self, timeout: asyncio.Timeout) -> Iterator[None]:
        """Make ``timeout`` expire at the deadline of the stop, if one is set while the context lasts.

        `StopMiddleware` runs each request in such a timeout, which must have been entered before.
        """
        if self._until is not None:
            timeout.reschedule(self._until)
        self._running.add(timeout)
        try:
            yield
        finally:
            self._running.discard(timeout)


class StopMiddleware:
    """ASGI middleware that ends requests which are still running at the deadline of a `GracefulStop`.

    Does not buffer streams.
    """

    def __init__(self, app: ASGIApp, stop: GracefulStop) -> None:
        self._app = app
        self._stop = stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer, limit = _Answer(send), asyncio.timeout(None)
        try:
            async with limit:
                with self._stop.apply_deadline(limit):
                    await self._app(scope, receive, answer.send)
        except TimeoutError:
            if not limit.expired():
                raise
            await answer.end(scope, receive)


class _Answer:
    """The progress of the answer to a request."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._headers: Headers | None = None
        self._is_whole = False

    async def send(self, message: Message) -> None:
        """Pass ``message`` on."""
        if message["type"] == "http.response.start":
            self._headers = Headers(raw=message["headers"])
        self._is_whole = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)

    async def end(self, scope: Scope, receive: Receive) -> None:
        """Report why there is no more. An answer that is neither begun nor made of events can only be cut off, by the server."""
        if self._headers is None:
            response = JSONResponse({"error": STOPPING}, 503, {"Retry-After": "1"})
            await response(scope, receive, self._send)
        elif not self._is_whole and self._headers.get("content-type", "").startswith("text/event-stream"):
            event = scope.get("state", {}).get(STOPPING_EVENT) or encode_json_event(STOPPING, "error")
            await self._send({"type": "http.response.body", "body": event, "more_body": False})
