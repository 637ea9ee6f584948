"""uvicorn's HTTP/1.1 protocol with limits that uvicorn does not have.

The head of a request has a time limit and a size limit. A body stays unparsed until the application
reads it, and its number of chunks is limited. A connection with unread bytes is closed in two steps, so
that the response reaches the client. The number of connections and of simultaneous requests is limited,
except for health checks. Every refusal has the application's usual JSON of an error.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import h11
import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

from backend.routers.headers import SECURITY_HEADERS, UserKeyRemovalMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from uvicorn.config import Config
    from uvicorn.server import ServerState

LONGEST_HEAD: Final = 16 * 1024
MOST_HEADERS: Final = 100
HEAD_SECONDS: Final = 10.0
"""Seconds for a request head, from the connection or from the first byte of a further request."""
IDLE_SECONDS: Final = 5
"""Seconds for which an idle connection is kept for a further request."""

MOST_CHUNKS: Final = 8_192
"""The most chunks of one body. The longest body then has 640 bytes in each; a chunk costs some 15 µs."""

LINGER_SECONDS: Final = 2.0
LINGER_BYTES: Final = 32 * 1024 * 1024
"""The most bytes of a request that are discarded after its early answer."""

READING_SECONDS: Final = 30.0
"""Seconds for which a client may read nothing of an answer that exceeds the buffers."""

MOST_CONNECTIONS: Final = 512
"""Half of the 1,024 files that a process may commonly open. Beyond it, the longest waiting connection is closed."""
MOST_REQUESTS: Final = 448
"""The most requests at a time. Beyond it, only health checks are answered."""
HEALTH: Final = frozenset({"/healthz", "/readyz"})

CLOSE: Final = (b"connection", b"close")
_END_OF_HEAD: Final = re.compile(rb"\n\r?\n")
_MESSAGES: Final = {
    400: "This is not HTTP that the server understands.",
    408: "The request did not come in time.",
    413: f"The body comes in more than {MOST_CHUNKS} chunks.",
    431: f"The head is longer than {LONGEST_HEAD} bytes, or has more than {MOST_HEADERS} headers.",
    503: "Too many requests are being answered now. Try again.",
}
_CODES: Final = {413: "content_too_large", 503: "too_busy"}


def make_uvicorn_config(app: ASGIApp, *, grace_seconds: int | None = None) -> Config:
    """Make the uvicorn configuration for ``app``, without WebSockets and without trusting proxy headers.

    Args:
        app: The application.
        grace_seconds: Seconds that requests in flight have at a shutdown; None for no limit.
    """
    return uvicorn.Config(
        UserKeyRemovalMiddleware(app),
        http=LimitedH11Protocol,
        ws="none",  # no route is one
        proxy_headers=False,  # `PATCHBAY_PUBLIC_URL` tells what they would
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=grace_seconds,
        log_level="warning",
        access_log=False,  # a login link's token would stand in it
    )


class LimitedH11Connection(h11.Connection):
    """An h11 connection that limits heads and chunks, and parses a body only after `allow_body_parsing`.

    Attributes:
        refusal_status: The HTTP status with which a request was refused; None if none was. After a refusal
            nothing more is read.
    """

    def __init__(self) -> None:
        super().__init__(h11.SERVER, LONGEST_HEAD)
        self.refusal_status: int | None = None
        self._is_held = False
        self._length = 0
        self._chunks = 0

    @property
    def has_unread_request(self) -> bool:
        """Whether a part of the request has not been read, or has not arrived yet."""
        return self.refusal_status is not None or self.their_state is h11.SEND_BODY

    @property
    def has_unparsed_bytes(self) -> bool:
        """Whether the connection holds bytes that are not parsed yet, such as the beginning of a request head."""
        return bool(self.trailing_data[0])

    @property
    def has_complete_body(self) -> bool:
        """Whether a body that waits for `allow_body_parsing` has arrived completely.

        False for a chunked body, whose length is unknown.
        """
        return self._is_held and 0 < self._length <= len(self.trailing_data[0])

    @property
    def is_body_held(self) -> bool:
        """Whether a request body waits for `allow_body_parsing`."""
        return self._is_held and self.their_state is h11.SEND_BODY

    def allow_body_parsing(self) -> None:
        """Allow the current request's body to be parsed. Called when the application reads the body."""
        self._is_held = False

    @override
    def next_event(self) -> h11.Event | type[h11.NEED_DATA | h11.PAUSED]:
        if self.is_body_held:
            return h11.NEED_DATA
        try:
            self._measure_head()
            event = super().next_event()
            self._measure(event)
        except h11.RemoteProtocolError as error:
            self.refusal_status = error.error_status_hint
            raise
        return event

    def _measure_head(self) -> None:
        """Check the size of a head that has arrived as a whole; h11 checks it only while it is incomplete."""
        if self.their_state is h11.IDLE:
            come = self.trailing_data[0]
            if len(come) > LONGEST_HEAD and not _END_OF_HEAD.search(come, 0, LONGEST_HEAD):
                raise h11.RemoteProtocolError("too long a head", error_status_hint=431)

    def _measure(self, event: object) -> None:
        if isinstance(event, h11.Request):
            self._expect(event)
        elif isinstance(event, h11.Data) and event.chunk_start:
            self._chunks += 1
            if self._chunks > MOST_CHUNKS:
                raise h11.RemoteProtocolError("too many chunks", error_status_hint=413)

    def _expect(self, request: h11.Request) -> None:
        headers = list(request.headers)
        if len(headers) > MOST_HEADERS:
            raise h11.RemoteProtocolError("too many headers", error_status_hint=431)
        fields = dict(headers)
        is_chunked = b"transfer-encoding" in fields
        self._chunks, self._length = 0, 0 if is_chunked else int(fields.get(b"content-length", 0))
        self._is_held = is_chunked or self._length > 0


class LingeringTransport(asyncio.Transport):
    """An asyncio transport that, before it closes, discards what the client still sends, for a limited time.

    If it closed at once, the kernel would reset the connection, and the client might lose the response.
    Several writes in one turn of the event loop are combined.
    """

    def __init__(self, transport: asyncio.Transport, connection: LimitedH11Connection) -> None:
        super().__init__()
        self._transport = transport
        self._connection = connection
        self._left = LINGER_BYTES
        self._unwritten: list[bytes | bytearray | memoryview] = []
        self.is_lingering = False

    @override
    def close(self) -> None:
        if self.is_lingering or self._transport.is_closing():
            return
        self._flush()
        if not self._connection.has_unread_request or not self._transport.can_write_eof():
            self._transport.close()
            return
        self.is_lingering = True
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.abort)
        with suppress(OSError):  # the client is gone
            self._transport.write_eof()
            self._transport.resume_reading()

    def discard_late_data(self, data: bytes) -> None:
        """Discard ``data`` that came after the transport was closed, and abort if the client sends too much."""
        self._left -= len(data)
        if self._left < 0:
            self._transport.abort()

    @override
    def is_closing(self) -> bool:
        return self.is_lingering or self._transport.is_closing()

    @override
    def abort(self) -> None:
        self._transport.abort()

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.is_lingering:
            return
        if not self._unwritten:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unwritten.append(data)

    def _flush(self) -> None:
        if self._unwritten:
            unwritten = b"".join(self._unwritten)
            self._unwritten.clear()
            self._transport.write(unwritten)

    @override
    def pause_reading(self) -> None:
        self._transport.pause_reading()

    @override
    def resume_reading(self) -> None:
        self._transport.resume_reading()

    @override
    def get_write_buffer_size(self) -> int:
        return sum(map(len, self._unwritten)) + self._transport.get_write_buffer_size()

    @override
    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)


class LimitedH11Protocol(H11Protocol):
    """uvicorn's protocol for one HTTP/1.1 connection, with limits on time, sizes and the number of connections."""

    conn: LimitedH11Connection
    transport: LingeringTransport

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = LimitedH11Connection()
        self.waits_since = self.loop.time()
        self._asked = self.app
        self.app = self._serve
        self._is_leaving = False
        self._head_clock: asyncio.TimerHandle | None = None
        self._reading_clock: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request of the connection is being answered."""
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._make_room()
        super().connection_made(LingeringTransport(transport, self.conn))
        # asyncio does so only for sockets that were made with a protocol's number; head and body are two small writes.
        if (taken := transport.get_extra_info("socket")) is not None:
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._mind_head()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_clock()
        self._stop_reading_clock()
        super().connection_lost(exc)

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self._mind_reading()

    @override
    def resume_writing(self) -> None:
        self._stop_reading_clock()
        super().resume_writing()

    @override
    def data_received(self, data: bytes) -> None:
        if self.transport.is_lingering:
            self.transport.discard_late_data(data)
            return
        super().data_received(data)
        self._mind_head()
        if self.conn.is_body_held:
            self.flow.pause_reading()

    @override
    def shutdown(self) -> None:
        """Close the connection once its current request is answered. Called by uvicorn when the server stops.

        If the stop leaves enough time, an idle connection stays open for up to `IDLE_SECONDS`, because the
        client may already be sending one more request. The response to it says that the connection closes.
        """
        if (self.config.timeout_graceful_shutdown or 0) > IDLE_SECONDS:
            self._is_leaving = True
        else:
            super().shutdown()

    @override
    def on_response_complete(self) -> None:
        self.waits_since = self.loop.time()
        super().on_response_complete()

    @override
    def send_400_response(self, msg: str) -> None:
        self._refuse(self.conn.refusal_status or 400)

    @override
    def _should_upgrade(self) -> bool:
        return False

    def _make_room(self) -> None:
        """If there are too many connections, close the one that has waited longest for a head."""
        if len(self.connections) < MOST_CONNECTIONS:
            return
        waiting = [
            connection
            for connection in self.connections
            if isinstance(connection, LimitedH11Protocol) and connection.is_idle
        ]
        for connection in sorted(waiting, key=_waits_since)[: len(self.connections) - MOST_CONNECTIONS + 1]:
            connection.transport.abort()

    def _mind_head(self) -> None:
        """Run the timer of the head while one is expected."""
        if self.conn.their_state is not h11.IDLE:
            self._stop_head_clock()
        elif self._head_clock is None:
            self._head_clock = self.loop.call_later(HEAD_SECONDS, self._end_wait)

    def _stop_head_clock(self) -> None:
        if self._head_clock is not None:
            self._head_clock.cancel()
            self._head_clock = None

    def _mind_reading(self, before: int | None = None) -> None:
        """Close the connection if the client has read nothing since there were ``before`` unread bytes; else check again later."""
        unread = self.transport.get_write_buffer_size()
        if unread == before:
            self.transport.abort()
        else:
            self._reading_clock = self.loop.call_later(READING_SECONDS, self._mind_reading, unread)

    def _stop_reading_clock(self) -> None:
        if self._reading_clock is not None:
            self._reading_clock.cancel()
            self._reading_clock = None

    def _end_wait(self) -> None:
        if self.conn.has_unparsed_bytes and not self.transport.is_closing():
            self._refuse(408)
        else:
            self.transport.abort()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Its body is parsed when the application reads it; if it never does, the connection is closed."""

        async def receive_asked() -> Message:
            self._release()
            return await receive()

        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = self._last(message)
            await send(message)

        if len(self.tasks) > MOST_REQUESTS and scope["path"] not in HEALTH:
            await _answer(503, send_last)
        else:
            await self._asked(scope, receive_asked, send_last)

    def _release(self) -> None:
        if self.conn.is_body_held:
            self.conn.allow_body_parsing()
            self.handle_events()

    def _last(self, start: Message) -> Message:
        if self.conn.has_complete_body:
            self._release()
        if self.conn.has_unread_request or self._is_leaving:
            return {**start, "headers": [*start.get("headers", ()), CLOSE]}
        return start

    def _refuse(self, status: int) -> None:
        """Answer with an error instead of the application, and close."""
        self.conn.refusal_status = status
        self._stop_head_clock()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._write(status)
        if not self.is_idle:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def _write(self, status: int) -> None:
        body = _body(status)
        reason = HTTPStatus(status).phrase.encode()
        head = h11.Response(status_code=status, headers=[*_headers(body), CLOSE], reason=reason)
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))


def _waits_since(protocol: LimitedH11Protocol) -> float:
    return protocol.waits_since


def _body(status: int) -> bytes:
    code = _CODES.get(status) or HTTPStatus(status).name.lower()
    return json.dumps({"error": {"code": code, "message": _MESSAGES[status]}}).encode()


def _headers(body: bytes) -> Iterable[tuple[bytes, bytes]]:
    yield b"content-type", b"application/json"
    yield b"content-length", str(len(body)).encode()
    yield b"cache-control", b"no-store"
    for name, value in SECURITY_HEADERS.items():
        yield name.encode(), value.encode()


async def _answer(status: int, send: Send) -> None:
    body = _body(status)
    headers = [*_headers(body), (b"retry-after", b"1")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
