"""A server that stops tells those whom it cannot serve any more."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from backend.routers.headers import SECURITY_HEADERS, SecurityHeadersMiddleware
from backend.routers.stopping import STOPPING, GracefulStop, StopMiddleware
from backend.wires.sse import encode_json_event

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send
LONG = 3600.0
HTTP = {"type": "http", "method": "GET", "path": "/", "headers": []}


class Request:
    """A request to ``app``, which says when it has come as far as it comes by itself."""

    def __init__(self, kind: str | None, *, stop: GracefulStop) -> None:
        self.kind = kind
        self.stop = stop
        self.waits = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.was_cancelled = False
        self.sent: list[Any] = []

    async def app(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        if self.kind:
            headers = [(b"content-type", self.kind.encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"some", "more_body": True})
        try:
            self.waits.set()
            await self.goes_on.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        await send({"type": "http.response.body", "body": b"rest", "more_body": False})

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def receive(self) -> Any:
        raise NotImplementedError

    def run(self) -> asyncio.Task[None]:
        app: ASGIApp = SecurityHeadersMiddleware(StopMiddleware(self.app, self.stop))
        return asyncio.ensure_future(app(HTTP, self.receive, self.send))

    @property
    def body(self) -> bytes:
        return b"".join(one.get("body", b"") for one in self.sent)


async def test_a_stream_that_outlasts_the_stop_ends_with_an_error_event() -> None:
    request = Request("text/event-stream; charset=utf-8", stop=GracefulStop())
    running = request.run()
    await request.waits.wait()

    request.stop.begin(0.0)
    await running

    assert request.was_cancelled
    assert request.body == b"some" + encode_json_event(STOPPING, "error")
    assert [one.get("more_body") for one in request.sent] == [None, True, False]


async def test_an_answer_that_has_not_begun_ends_with_a_status() -> None:
    request = Request(None, stop=GracefulStop())
    running = request.run()
    await request.waits.wait()

    request.stop.begin(0.0)
    await running

    start = request.sent[0]
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    assert (start["status"], json.loads(request.body)) == (503, {"error": STOPPING})
    assert headers["retry-after"] == "1"
    assert headers.items() >= SECURITY_HEADERS.items()


async def test_a_request_after_the_stop_is_refused_too() -> None:
    request = Request(None, stop=GracefulStop())
    request.stop.begin(0.0)

    await request.run()

    assert request.sent[0]["status"] == 503


async def test_what_is_of_another_kind_is_broken_off() -> None:
    request = Request("application/octet-stream", stop=GracefulStop())
    running = request.run()
    await request.waits.wait()

    request.stop.begin(0.0)
    await running

    assert request.body == b"some"


async def test_what_ends_in_time_is_whole() -> None:
    request = Request("text/event-stream", stop=GracefulStop())
    running = request.run()
    await request.waits.wait()

    request.stop.begin(LONG)
    request.goes_on.set()
    await running

    assert request.body == b"somerest"


async def test_a_second_stop_may_be_shorter() -> None:
    request = Request("text/event-stream", stop=GracefulStop())
    running = request.run()
    await request.waits.wait()

    request.stop.begin(LONG)
    request.stop.begin(0.0)
    await running

    assert b"event: error" in request.body


async def test_an_application_that_times_out_by_itself_is_not_taken_for_a_stop() -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise TimeoutError("its own")

    request = Request(None, stop=GracefulStop())

    with pytest.raises(TimeoutError, match="its own"):
        await StopMiddleware(app, GracefulStop())(HTTP, request.receive, request.send)

    assert request.sent == []


async def test_a_stop_that_leaves_no_time_is_a_hurry() -> None:
    stop = GracefulStop()

    stop.begin(LONG)
    assert not stop.hurry.is_set()

    stop.begin(0.0)
    assert stop.hurry.is_set()
