"""A response of server-sent events, which batches writes and is fair to other tasks.

Events that a source yields without waiting are sent in one write, as soon as the event loop is free; events in quick
succession are collected for a few milliseconds, because a write costs more than an event. A source that never waits still
lets other tasks run.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Final

from starlette.responses import Response
from typing_extensions import override

from .disconnect import DisconnectedClientError, cancel_on_disconnect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from starlette.types import Message, Receive, Scope, Send

MOST_UNSENT: Final = 64 * 1024
"""The most bytes that wait for a slow client, beside the server's buffer, before the source is paused."""
TOGETHER_SECONDS: Final = 0.005
"""The shortest time in seconds between two writes, except before the last: a write costs more than some events."""
TURN_SECONDS: Final = 0.002
"""Seconds that a source may yield without letting other tasks run."""
PING_SECONDS: Final = 15.0

STOPPING_EVENT: Final = "stopping_event"
"""The key, in the request's state, of the event that ends its stream when the server stops."""

PING: Final = b": ping\n\n"


class EventStreamResponse(Response):
    """A response that streams server-sent events, sends keep-alives, and stops when the client disconnects.

    The generator ``events`` is closed after its last event or a disconnect. If it raises, the connection is
    aborted, so it should yield an error as an event instead.

    Args:
        events: Yields one or several complete, encoded events at a time.
        status_code: The HTTP status.
        headers: Further headers.
        stopping: The last event to send if the server stops; by default an event named ``error``.
        ping: The keep-alive to send; by default a comment.
        ping_seconds: Seconds without an event after which a keep-alive is sent.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        status_code: int = 200,
        *,
        headers: Mapping[str, str] | None = None,
        stopping: bytes | None = None,
        ping: bytes = PING,
        ping_seconds: float = PING_SECONDS,
    ) -> None:
        super().__init__(status_code=status_code, headers={"x-accel-buffering": "no", **(headers or {})})
        del self.headers["content-length"]
        self._events = events
        self._stopping = stopping
        self._ping, self._ping_seconds = ping, ping_seconds

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._stopping is not None:
            scope.setdefault("state", {})[STOPPING_EVENT] = self._stopping
        start: Message = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        try:
            async with (
                aclosing(self._events),
                _writing(send, start, self._ping, self._ping_seconds) as writer,
                cancel_on_disconnect(receive),
            ):
                async for data in self._events:
                    await writer.write(data)
                writer.end()
        except DisconnectedClientError:
            return


class _Writer:
    """Sends the head with the first events, then collected events, at most once in `TOGETHER_SECONDS`."""

    def __init__(self, send: Send, start: Message, ping: bytes, ping_seconds: float) -> None:
        self._send = send
        self._start = start
        self._loop = asyncio.get_running_loop()
        self._unsent: list[bytes] = []
        self._size = 0
        self._turn_began = self._last_sent = self._loop.time()
        self._next_at = self._turn_began
        self._is_whole = False
        self._is_due = asyncio.Event()
        self._has_room = asyncio.Event()
        self._falls_due: asyncio.TimerHandle | None = None
        self._ping, self._ping_seconds = ping, ping_seconds
        self._next_ping = self._loop.call_later(ping_seconds, self._ping_if_silent)
        self._sending = self._loop.create_task(self._send_all())

    async def write(self, some: bytes) -> None:
        """Queue ``some`` events; wait if too much is unsent, or if other tasks have waited for long."""
        if self._sending.done():
            await self._sending
        now = self._loop.time()
        if not self._unsent:
            self._turn_began = now
        self._add(some, now)
        if self._size >= MOST_UNSENT:
            self._has_room.clear()
            await self._has_room.wait()
        elif now - self._turn_began >= TURN_SECONDS:
            await asyncio.sleep(0)
            self._turn_began = self._loop.time()

    def end(self) -> None:
        """Mark the stream as complete: the next write is the last."""
        self._is_whole = True
        self._is_due.set()

    async def sent(self) -> None:
        """Wait until everything is sent."""
        await self._sending

    async def close(self) -> None:
        """Stop sending, if not complete."""
        self._next_ping.cancel()
        if self._falls_due is not None:
            self._falls_due.cancel()
        if not self._sending.done():
            self._sending.cancel()
            await asyncio.wait({self._sending})

    def _add(self, some: bytes, now: float) -> None:
        self._unsent.append(some)
        self._size += len(some)
        if now >= self._next_at or self._size >= MOST_UNSENT:
            self._is_due.set()
        elif self._falls_due is None:
            self._falls_due = self._loop.call_at(self._next_at, self._is_due.set)

    async def _send_all(self) -> None:
        try:
            await self._send(self._start)
            is_last = False
            while not is_last:
                await self._is_due.wait()
                is_last = self._is_whole
                await self._send(
                    {"type": "http.response.body", "body": self._taken(), "more_body": not is_last}
                )
                self._last_sent = self._loop.time()
                self._next_at = self._last_sent + TOGETHER_SECONDS
                self._has_room.set()
        finally:
            self._has_room.set()

    def _taken(self) -> bytes:
        body = b"".join(self._unsent)
        self._unsent.clear()
        self._size = 0
        self._is_due.clear()
        if self._falls_due is not None:
            self._falls_due.cancel()
            self._falls_due = None
        return body

    def _ping_if_silent(self) -> None:
        now, next_at = self._loop.time(), self._last_sent + self._ping_seconds
        if now >= next_at:
            self._add(self._ping, now)
            next_at = now + self._ping_seconds
        self._next_ping = self._loop.call_at(next_at, self._ping_if_silent)


@asynccontextmanager
async def _writing(send: Send, start: Message, ping: bytes, ping_seconds: float) -> AsyncIterator[_Writer]:
    """A writer, which sends all queued events at the end of the context."""
    writer = _Writer(send, start, ping, ping_seconds)
    try:
        yield writer
        await writer.sent()
    finally:
        await writer.close()
