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


class _HttpxStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The same body for a client of the older family."""

    def __init__(self, body: WatchedStream) -> None:
        self._body = body

    @override
    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    @override
    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._body.__aiter__()

    @override
    def close(self) -> None:
        self._body.close()

    @override
    async def aclose(self) -> None:
        await self._body.aclose()


def httpx_stream(body: WatchedStream) -> _HttpxStream:
    """``body`` as `httpx` wants it."""
    return _HttpxStream(body)
