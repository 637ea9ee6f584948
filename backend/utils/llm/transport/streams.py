"""Bodies of answers, watched on their way: when their first byte comes, and that they keep to bounds and to time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, cast

import httpx2
from typing_extensions import override

from ..caller import context_without_caller, without_caller
from ..errors import LLMError
from .clocks import in_time, in_time_here
from .unpacking import Unpacker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from .ticket import Ticket

PIECE_BYTES = 4096
"""A body is handed on in such pieces; an event loop is let go on after each."""
UNPACKED_BYTES = 65_536
"""As much is unpacked at once."""
LONGEST_ERROR = 65_536
"""Bytes that are read of what an error says."""
DRAIN_SECONDS = 0.2
"""How long the end of a body is waited for once its last event has come."""
MOST_DRAINED = 65_536
"""Bytes that are read of it."""
_SEPARATORS = b",:[{"


class Arriving(Protocol):
    """An answer to an event loop's request, on its way."""

    headers: Mapping[str, str]

    async def part(self) -> bytes:
        """What came since the last look; empty at the end."""

    def close(self) -> None:
        """Give the connection back, or close it if something is left to read."""


class _Watched:
    """Unpacks a body, and holds it to its attempt's time and to what is taken of its server."""

    def __init__(self, ticket: Ticket, headers: Mapping[str, str]) -> None:
        self._ticket = ticket
        self._trust = ticket.trust
        self._encoding = headers.get("content-encoding", "identity").strip().lower()
        self._unpacker = None if self._encoding == "identity" else Unpacker(UNPACKED_BYTES)
        self._packed = self._bytes = self._kept = self._lines = self._values = 0
        self.is_document = headers.get("content-type", "").startswith("application/json")
        """Whether it is one document of JSON. Else every line may be one."""
        self.has_more = False
        """Whether more of it than the last piece is there already."""
        ticket.body = self  # type: ignore[assignment]

    def _begin(self) -> None:
        if self._encoding not in {"identity", *self._trust.encodings}:
            raise self._ticket.refuse_answer("answered with a compressed body, though it was asked not to")

    def _pieces(self, part: bytes) -> Iterator[bytes]:
        """What ``part``, the next of the body, adds to it, in pieces that are not too long."""
        self._packed += len(part)
        for unpacked in self._unpacker.pieces(part) if self._unpacker else (part,):
            for start in range(0, len(unpacked), PIECE_BYTES):
                piece = unpacked[start : start + PIECE_BYTES]
                self._note(piece)
                self.has_more = start + PIECE_BYTES < len(unpacked)
                yield piece
        self._weigh()  # also what adds nothing

    def _note(self, piece: bytes) -> None:
        self._bytes += len(piece)
        self._lines += piece.count(b"\n") + piece.count(b"\r")
        kept = piece
        if not self.is_document and b"\n" in piece:
            self._kept, self._values, kept = 0, 0, piece.rpartition(b"\n")[2]
        self._kept += len(kept)
        self._values += len(kept) - len(kept.translate(None, _SEPARATORS))
        self._weigh()
        if self._ticket.observed.first_byte_at is None:
            self._ticket.observed.first_byte_at = self._ticket.clock()
        if self._ticket.left() < 0:
            raise httpx2.ReadTimeout("The attempt's time is up.")

    def _weigh(self) -> None:
        trust = self._trust
        if self._kept > trust.most_bytes or self._lines > trust.most_lines:
            told = f"{trust.most_bytes:,} bytes, or {trust.most_lines:,} lines"
        elif max(self._bytes, self._packed) > trust.most_stream_bytes:
            told = f"{trust.most_stream_bytes:,} bytes"
        elif self._values > trust.most_values:
            told = f"{trust.most_values:,} values"
        else:
            return
        raise self._ticket.refuse_answer(f"sent more than {told}")


class Body(_Watched, httpx2.SyncByteStream):
    """Read from a thread."""

    def __init__(self, response: httpx2.Response, ticket: Ticket) -> None:
        super().__init__(ticket, response.headers)
        self._response = response
        self._parts = iter(cast("httpx2.SyncByteStream", response.stream))

    @override
    def __iter__(self) -> Iterator[bytes]:
        self._begin()
        while True:
            with in_time_here(self._ticket):
                part = next(self._parts, None)
            if part is None:
                return
            yield from self._pieces(part)

    def beginning(self) -> bytes:
        """As much of an error as is looked at; the connection is closed if there is more."""
        read = bytearray()
        try:
            for piece in self:
                read += piece
                if len(read) >= LONGEST_ERROR:
                    break
        finally:
            self.close()
        return bytes(read[:LONGEST_ERROR])

    def drain(self) -> None:
        """Read what is left, which says nothing more, so that the connection can be kept."""
        self._ticket.expect_within(DRAIN_SECONDS)
        left = MOST_DRAINED
        with suppress(httpx2.HTTPError, LLMError):
            for piece in self:
                left -= len(piece)
                if left < 0:
                    return

    @override
    def close(self) -> None:
        """Give the connection back, or close it if something is left to read."""
        self._response.close()

    async def aclose(self) -> None:
        """As `close`."""
        self.close()


class AsyncBody(_Watched, httpx2.AsyncByteStream):
    """Read from an event loop."""

    def __init__(self, response: Arriving, ticket: Ticket) -> None:
        super().__init__(ticket, response.headers)
        self._response = response
        self._context = context_without_caller()

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._begin()
        while part := await without_caller(in_time(self._ticket, self._response.part), self._context):
            is_first = True
            for piece in self._pieces(part):
                if not is_first:
                    await asyncio.sleep(0)
                is_first = False
                yield piece

    async def beginning(self) -> bytes:
        """As much of an error as is looked at; the connection is closed if there is more."""
        read = bytearray()
        try:
            async for piece in self:
                read += piece
                if len(read) >= LONGEST_ERROR:
                    break
        finally:
            self.close()
        return bytes(read[:LONGEST_ERROR])

    async def drain(self) -> None:
        """Read what is left, which says nothing more, so that the connection can be kept."""
        self._ticket.expect_within(DRAIN_SECONDS)
        left = MOST_DRAINED
        with suppress(httpx2.HTTPError, LLMError):
            async for piece in self:
                left -= len(piece)
                if left < 0:
                    return

    def close(self) -> None:
        """Give the connection back, or close it if something is left to read."""
        self._response.close()

    @override
    async def aclose(self) -> None:
        """As `close`."""
        self.close()
