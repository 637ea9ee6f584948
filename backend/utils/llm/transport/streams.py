"""Bodies of answers, watched on their way to the SDK."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from .ticket import Ticket


class WatchedStream(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """The provider's own body. Notes when its first byte arrives, and is cut when the attempt's time is up.

    The client's own time-out is for each wait, so a body that trickles could go on for ever.
    """

    def __init__(self, body: Any, ticket: Ticket) -> None:
        self._body = body
        self._wire = ticket.wire
        self._ends_at = ticket.ends_at

    @override
    def __iter__(self) -> Iterator[bytes]:
        for part in self._body:
            self._note()
            yield part

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
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
        now = time.monotonic()
        if self._wire.first_byte_at is None:
            self._wire.first_byte_at = now
        if now > self._ends_at:
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
