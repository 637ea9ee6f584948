"""Responses, read within the attempt's time and within bounds."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx2

from ..caller import without_caller
from ..errors import LLMError
from .connections import BROKEN, TOO_LATE, failure_of, in_time
from .unpacking import Unpacker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from contextvars import Context

    import aiohttp

    from .connections import Arrival
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


class _Response:
    """A response on its way. Its body is unpacked, and held to the attempt's time and to what is taken of its server.

    Attributes:
        headers: Those that are kept, without the key.
        content: Of an error, what is handed on of its body; else empty.
        is_document: Whether the body is one document of JSON. Else every line may be one.
        has_more: Whether more of it than the last piece is there already.
    """

    def __init__(self, arrival: Arrival[Any], ticket: Ticket) -> None:
        self.status = arrival.status
        self.headers = ticket.observed.headers
        self.content = b""
        self.is_document = arrival.headers.get("content-type", "").startswith("application/json")
        self.has_more = False
        self.close = arrival.close
        self._ticket = ticket
        self._encoding = arrival.headers.get("content-encoding", "identity").strip().lower()
        self._unpacker = None if self._encoding == "identity" else Unpacker(UNPACKED_BYTES)
        self._packed = self._bytes = self._kept = self._lines = self._values = 0
        self._enough = sys.maxsize

    def _read_on(self, most: int) -> None:
        self.is_document, self._enough = True, self._bytes + most

    def _pieces(self, part: bytes) -> Iterator[bytes]:
        """What ``part``, the next of the body, adds to it, in pieces that are not too long."""
        trust = self._ticket.trust
        if self._unpacker and self._encoding not in trust.accept_encoding.split(", "):
            raise self._ticket.refuse_answer("answered with a compressed body, though it was asked not to")
        self._packed += len(part)
        if self._packed > trust.most_stream_bytes:  # also if it adds nothing
            raise self._ticket.refuse_answer(f"sent more than {trust.most_stream_bytes:,} bytes")
        for unpacked in self._unpacker.pieces(part) if self._unpacker else (part,):
            if self._bytes >= self._enough:
                return
            self._weigh(unpacked)
            for start in range(0, len(unpacked), PIECE_BYTES):
                self.has_more = start + PIECE_BYTES < len(unpacked)
                yield unpacked[start : start + PIECE_BYTES]

    def _weigh(self, unpacked: bytes) -> None:
        """Test the time, and what there is of the body now that ``unpacked`` is added to it."""
        ticket, trust, now = self._ticket, self._ticket.trust, self._ticket.clock()
        if ticket.observed.first_byte_at is None:
            ticket.observed.first_byte_at = now
        if ticket.due < now:
            raise httpx2.ReadTimeout(TOO_LATE)
        self._bytes += len(unpacked)
        self._lines += unpacked.count(b"\n") + unpacked.count(b"\r")
        if not self.is_document and b"\n" in unpacked:
            self._kept, self._values, unpacked = 0, 0, unpacked.rpartition(b"\n")[2]
        self._kept += len(unpacked)
        self._values += len(unpacked) - len(unpacked.translate(None, _SEPARATORS))
        if self._kept > trust.most_bytes or self._lines > trust.most_lines:
            excess = f"{trust.most_bytes:,} bytes, or {trust.most_lines:,} lines"
        elif self._bytes > trust.most_stream_bytes:
            excess = f"{trust.most_stream_bytes:,} bytes"
        elif self._values > trust.most_values:
            excess = f"{trust.most_values:,} values"
        else:
            return
        raise ticket.refuse_answer(f"sent more than {excess}")


class Response(_Response):
    """One to a request from a thread."""

    def __init__(self, arrival: Arrival[Iterable[bytes]], ticket: Ticket) -> None:
        super().__init__(arrival, ticket)
        self._parts = iter(arrival.body)

    def _part(self) -> bytes | None:
        try:
            return next(self._parts, None)
        except BROKEN as error:
            failure = failure_of(error)
        raise failure

    def __iter__(self) -> Iterator[bytes]:
        while self._bytes < self._enough and (part := self._part()) is not None:
            yield from self._pieces(part)

    def read(self, most: int = sys.maxsize) -> bytes:
        """The body, or its first ``most`` bytes; then the connection is given back, or closed if there is more.

        Raises:
            httpx2.TransportError: It broke off, or the attempt's time is up.
            LLMError: It is more than is taken.
        """
        self._read_on(most)
        try:
            return b"".join(self)[:most]
        finally:
            self.close()

    def drain(self) -> None:
        """Read what is left, which says nothing more, so that the connection can be kept."""
        self._ticket.expect_within(DRAIN_SECONDS)
        with suppress(httpx2.HTTPError, LLMError):
            self.read(MOST_DRAINED)


class AsyncResponse(_Response):
    """One to a request from an event loop.

    Args:
        context: Where it is read, on nobody's behalf.
    """

    def __init__(self, arrival: Arrival[aiohttp.StreamReader], ticket: Ticket, context: Context) -> None:
        super().__init__(arrival, ticket)
        self._body = arrival.body
        self._context = context

    async def _part(self) -> bytes:
        try:
            return await self._body.readany()
        except BROKEN as error:
            failure = failure_of(error)
        raise failure

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._bytes < self._enough:
            if not (part := await without_caller(in_time(self._ticket, self._part), self._context)):
                return
            is_first = True
            for piece in self._pieces(part):
                if not is_first:
                    await asyncio.sleep(0)
                is_first = False
                yield piece

    async def read(self, most: int = sys.maxsize) -> bytes:
        """As `Response.read`."""
        self._read_on(most)
        try:
            return b"".join([piece async for piece in self])[:most]
        finally:
            self.close()

    async def drain(self) -> None:
        """As `Response.drain`."""
        self._ticket.expect_within(DRAIN_SECONDS)
        with suppress(httpx2.HTTPError, LLMError):
            await self.read(MOST_DRAINED)
