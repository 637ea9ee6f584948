"""Bodies of answers, watched on their way to the SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import httpx2
from typing_extensions import override

from .clocks import in_time, in_time_here

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from .ticket import Ticket


class WatchedStream(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """The provider's own body. Notes when its first byte arrives, and is cut when the attempt's time is up."""

    def __init__(self, body: Any, ticket: Ticket) -> None:
        self._body = body
        self._ticket = ticket
        ticket.body = self

    @override
    def __iter__(self) -> Iterator[bytes]:
        parts = iter(self._body)
        while True:
            with in_time_here(self._ticket):
                part = next(parts, None)
            if part is None:
                return
            self._note()
            yield part

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = aiter(self._body)
        while True:
            async with in_time(self._ticket):
                part = await anext(parts, None)
            if part is None:
                return
            self._note()
            yield part

    @override
    def close(self) -> None:
        """Give the connection back."""
        self._body.close()

    @override
    async def aclose(self) -> None:
        """Give the connection back."""
        await self._body.aclose()

    def _note(self) -> None:
        if self._ticket.wire.first_byte_at is None:
            self._ticket.wire.first_byte_at = self._ticket.clock()
        if self._ticket.left() < 0:
            raise httpx2.ReadTimeout("The attempt's time is up.")


class _Comments:
    """Takes the comments out of a stream of events, which servers send as signs of life.

    Google's SDK, the one of the older family, takes them for answers.
    """

    def __init__(self) -> None:
        self._begins, self._is_comment = True, False

    def without(self, part: bytes) -> bytes:
        """``part``, the next of the stream, without comments."""
        kept = []
        for line in part.splitlines(keepends=True):
            if self._begins:
                self._is_comment = line.startswith(b":")
            if not self._is_comment:
                kept.append(line)
            self._begins = line.endswith((b"\n", b"\r"))
        return b"".join(kept)


class _HttpxStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The same body for a client of the older family."""

    def __init__(self, body: WatchedStream, comments: _Comments | None) -> None:
        self._body = body
        self._comments = comments

    @override
    def __iter__(self) -> Iterator[bytes]:
        for part in self._body:
            yield self._comments.without(part) if self._comments else part

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            yield self._comments.without(part) if self._comments else part

    @override
    def close(self) -> None:
        self._body.close()

    @override
    async def aclose(self) -> None:
        await self._body.aclose()


def httpx_stream(body: WatchedStream, headers: httpx2.Headers) -> _HttpxStream:
    """``body`` as `httpx` wants it."""
    is_events = headers.get("content-type", "").startswith("text/event-stream")
    is_plain = headers.get("content-encoding", "identity") == "identity"
    return _HttpxStream(body, _Comments() if is_events and is_plain else None)
