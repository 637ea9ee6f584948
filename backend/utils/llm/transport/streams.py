"""Bodies of answers, watched on their way: when their first byte comes, and that they keep to their attempt's time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import httpx2
from typing_extensions import override

from ..caller import context_without_caller, without_caller
from ..errors import OwnEndpointError
from .clocks import in_time, in_time_here

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from .pools import AsyncResponse
    from .ticket import Ticket

MOST_BYTES = 8_000_000
"""The longest answer that is taken from an endpoint that a user named: more than ten times what a model can say."""
MOST_LINES = 400_000
"""The same of a stream in lines: an event has at least two, and costs us far more time than whoever sends it."""
PIECE_BYTES = 4096
"""It is read in such pieces from an event loop, which is let go on after each."""
LONGEST_ERROR = 65_536
"""As much is looked at of what an error says."""
DRAIN_SECONDS = 0.2
"""How long the end of a body is waited for once its last event has come."""


class _Watched:
    def __init__(self, ticket: Ticket) -> None:
        self._ticket = ticket
        self._is_guarded = ticket.provider.reach is not None
        self._bytes = self._lines = 0
        ticket.body = self  # type: ignore[assignment]

    def _begin(self, headers: Mapping[str, str]) -> None:
        if self._is_guarded and headers.get("content-encoding", "identity") != "identity":
            told = "Your own endpoint answered with a compressed body, though it was asked not to."
            raise self._ticket.refuse(OwnEndpointError(told))

    def _note(self, part: bytes) -> None:
        if self._is_guarded:
            self._weigh(part)
        if self._ticket.wire.first_byte_at is None:
            self._ticket.wire.first_byte_at = self._ticket.clock()
        if self._ticket.left() < 0:
            raise httpx2.ReadTimeout("The attempt's time is up.")

    def _weigh(self, part: bytes) -> None:
        self._bytes += len(part)
        self._lines += part.count(b"\n") + part.count(b"\r")
        if self._bytes > MOST_BYTES or self._lines > MOST_LINES:
            told = f"Your own endpoint sent more than {MOST_BYTES:,} bytes, or {MOST_LINES:,} lines."
            raise self._ticket.refuse(OwnEndpointError(told))


class Body(_Watched, httpx2.SyncByteStream):
    """Read from a thread."""

    def __init__(self, response: httpx2.Response, ticket: Ticket) -> None:
        super().__init__(ticket)
        self._response = response

    @override
    def __iter__(self) -> Iterator[bytes]:
        self._begin(self._response.headers)
        is_plain = "content-encoding" not in self._response.headers
        parts = iter(self._response.stream) if is_plain else self._response.iter_bytes()  # type: ignore[arg-type]
        while True:
            with in_time_here(self._ticket):
                part = next(parts, None)
            if part is None:
                return
            self._note(part)
            yield part

    def beginning(self) -> bytes:
        """As much of an error as is looked at; the connection is closed."""
        read = bytearray()
        try:
            for part in self:
                read += part
                if len(read) >= LONGEST_ERROR:
                    break
        finally:
            self.close()
        return bytes(read[:LONGEST_ERROR])

    def drain(self) -> None:
        """Read what is left, which says nothing more, so that the connection can be kept."""
        self._ticket.expect_within(DRAIN_SECONDS)
        with suppress(httpx2.TransportError):
            for _ in self:
                pass

    @override
    def close(self) -> None:
        """Give the connection back, or close it if something is left to read."""
        self._response.close()

    async def aclose(self) -> None:
        """As `close`."""
        self.close()


class AsyncBody(_Watched, httpx2.AsyncByteStream):
    """Read from an event loop."""

    def __init__(self, response: AsyncResponse, ticket: Ticket) -> None:
        super().__init__(ticket)
        self._response = response
        self._context = context_without_caller()

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._begin(self._response.headers)
        while True:
            part = await without_caller(in_time(self._ticket, self._part), self._context)
            if not part:
                return
            self._note(part)
            yield part

    async def _part(self) -> bytes:
        if not self._is_guarded:
            return await self._response.part()
        await asyncio.sleep(0)
        return await self._response.part(PIECE_BYTES)

    async def beginning(self) -> bytes:
        """As much of an error as is looked at; the connection is closed."""
        read = bytearray()
        try:
            async for part in self:
                read += part
                if len(read) >= LONGEST_ERROR:
                    break
        finally:
            self.close()
        return bytes(read[:LONGEST_ERROR])

    async def drain(self) -> None:
        """Read what is left, which says nothing more, so that the connection can be kept."""
        self._ticket.expect_within(DRAIN_SECONDS)
        with suppress(httpx2.TransportError):
            async for _ in self:
                pass

    def close(self) -> None:
        """Give the connection back, or close it if something is left to read."""
        self._response.close()

    @override
    async def aclose(self) -> None:
        """As `close`."""
        self.close()


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


class HttpxBody(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The same for a client of the older family.

    Args:
        is_events: Whether it is a stream of events.
    """

    def __init__(self, body: Body | AsyncBody, *, is_events: bool) -> None:
        self._body = body
        self._comments = _Comments() if is_events else None

    @override
    def __iter__(self) -> Iterator[bytes]:
        for part in self._body:  # type: ignore[union-attr]
            yield self._comments.without(part) if self._comments else part

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:  # type: ignore[union-attr]
            yield self._comments.without(part) if self._comments else part

    @override
    def close(self) -> None:
        self._body.close()

    @override
    async def aclose(self) -> None:
        self._body.close()
