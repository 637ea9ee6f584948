"""HTTP responses.

Bodies are decompressed, and read within the attempt's timeout and the size limits for the server.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

import aiohttp
import httpx2

from ..caller import await_without_caller, copy_context_without_caller
from ..errors import LLMError
from .broken import BROKEN, TOO_LATE, to_httpx_error
from .ticket import LOOK_SECONDS
from .unpacking import BodyDecompressor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from .ticket import Ticket

_REQUEST_ID_HEADERS = (
    "request-id",  # Anthropic
    "x-generation-id",  # OpenRouter
    "x-ds-trace-id",  # DeepSeek
    "mistral-correlation-id",
    "x-amzn-requestid",  # Bedrock
    "x-request-id",  # OpenAI, Azure, Groq, xAI, and most others
    "apim-request-id",  # Azure
    "x-goog-request-id",
)
"""What providers name a request by, those first that one vendor alone sends: a gateway may add its own of the usual name."""
_KEPT_HEADERS = (
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    *_REQUEST_ID_HEADERS,
    "content-type",
)
"""What is kept of an answer's headers, and all that is handed on of them."""
_KEPT_OF_ERRORS = (
    *_KEPT_HEADERS,
    "x-ms-retry-after-ms",
    *(f"x-ratelimit-{what}{of}" for what in ("reset", "remaining") for of in ("", "-requests", "-tokens")),
    *(
        f"anthropic-ratelimit-{of}-{what}"
        for what in ("reset", "remaining")
        for of in ("requests", "tokens", "input-tokens", "output-tokens")
    ),
)
"""Of an error also which limit is used up, and until when."""
_PACKED = ("gzip", "deflate", "br", "zstd", "compress")
"""The content encodings that change a body. Some servers write others, such as the encoding of its characters."""
_CLIENT_ERROR = 400
PIECE_BYTES = 4096
"""The size in bytes of the pieces of a body."""
TURN_SECONDS = 0.001
"""Seconds for which buffered data is read before other tasks of the event loop get a turn."""
UNPACKED_BYTES = 65_536
"""The most bytes that are decompressed at once."""
LONG_BODY = 100_000
"""The size in bytes up to which JSON is parsed on the event loop, in 2 ms at most; above, in a thread."""
LONGEST_ERROR = 65_536
"""The most bytes that are read of an error's body."""
DRAIN_SECONDS = 0.2
"""The most seconds to wait for the end of a body after its last event."""
MOST_DRAINED = 65_536
"""The most bytes that are read of a body after its last event."""
_SEPARATORS = b",:[{"
BodyT = TypeVar("BodyT")


def _kept_of(status: int, headers: Mapping[str, str], ticket: Ticket) -> dict[str, str]:
    names = _KEPT_HEADERS if status < _CLIENT_ERROR else _KEPT_OF_ERRORS
    kept: dict[str, str] = ticket.redaction.redact_labels(
        {name: headers[name] for name in names if name in headers}
    )
    if "content-type" in kept:
        # Without its charset, which could say that a text is another one.
        kept["content-type"] = kept["content-type"].partition(";")[0]
    return kept


class _Response(Generic[BodyT]):
    """A response whose headers have arrived. Its body is decompressed, within the timeout and size limits.

    Args:
        headers: All headers, by their names in lower case.
        body: The body as sent, while it arrives.
        close: Returns the connection to the pool, or closes it if something is left to read.

    Attributes:
        headers: The headers that are kept, with the key removed.
        content: The part of an error's body that is passed on; else empty.
        is_document: Whether the body is one JSON document. Else every line may be one.
        has_more: Whether more than the last piece has arrived already.
    """

    content = b""
    has_more = False
    _enough = sys.maxsize
    _packed = _bytes = _kept = _lines = _values = 0

    def __init__(
        self,
        ticket: Ticket,
        status: int,
        headers: Mapping[str, str],
        body: BodyT,
        close: Callable[[], None],
    ) -> None:
        self.status = status
        self.headers = _kept_of(status, headers, ticket)
        self.is_document = headers.get("content-type", "").startswith("application/json")
        self.close = close
        self._ticket = ticket
        self._body = body
        self._encoding = headers.get("content-encoding", "").strip().lower().removeprefix("x-")
        is_packed = any(map(self._encoding.__contains__, _PACKED))
        self._unpacker = BodyDecompressor(UNPACKED_BYTES) if is_packed else None
        observed = ticket.observed
        observed.status, observed.headers = status, self.headers
        observed.request_id = next(filter(None, map(self.headers.get, _REQUEST_ID_HEADERS)), None)

    def _note_error(self, body: bytes) -> None:
        """Store the beginning of an error's ``body``, with the key removed.

        ``content`` stays empty for a user's own endpoint, which could pass on texts of the house's network.
        """
        ticket = self._ticket
        shown = ticket.redaction.redact_body(body, is_cut=len(body) >= LONGEST_ERROR)
        ticket.observed.first_byte_at, ticket.observed.error_body = ticket.clock(), shown
        self.content = shown if ticket.trust.tells_errors else b""

    def _read_on(self, most: int) -> None:
        self.is_document, self._enough = True, self._bytes + most

    def _pieces(self, part: bytes) -> Iterator[bytes]:
        """The decompressed content of ``part``, the next part of the body, in pieces of limited length."""
        trust = self._ticket.trust
        if self._unpacker and self._encoding not in trust.accept_encoding.split(", "):
            raise self._ticket.refuse_answer("answered with a compressed body, though it was asked not to")
        self._packed += len(part)
        if self._packed > trust.most_stream_bytes:  # also if it adds nothing
            raise self._ticket.refuse_answer(f"sent more than {trust.most_stream_bytes:,} bytes")
        for unpacked in self._unpacker.decompress(part) if self._unpacker else (part,):
            if self._bytes >= self._enough:
                return
            self._weigh(unpacked)
            for start in range(0, len(unpacked), PIECE_BYTES):
                self.has_more = start + PIECE_BYTES < len(unpacked)
                yield unpacked[start : start + PIECE_BYTES]

    def _weigh(self, unpacked: bytes) -> None:
        """Check the deadline, and the body's size with ``unpacked`` added."""
        ticket, trust, now = self._ticket, self._ticket.trust, self._ticket.clock()
        if ticket.observed.first_byte_at is None:
            ticket.observed.first_byte_at = now
        if ticket.due < now and not ticket.extend_if_late():
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


class Response(_Response[Iterator[bytes]]):
    """A response in a synchronous call. Iterating over it yields the decompressed pieces of its body."""

    def _part(self) -> bytes | None:
        try:
            return next(self._body, None)
        except BROKEN as error:
            failure = to_httpx_error(error)
        raise failure

    def __iter__(self) -> Iterator[bytes]:
        while self._bytes < self._enough and (part := self._part()) is not None:
            yield from self._pieces(part)

    def read(self, max_bytes: int = sys.maxsize) -> bytes:
        """Read the body, or its first ``max_bytes`` bytes, and release the connection.

        Raises:
            httpx2.TransportError: The connection broke, or the attempt's timeout has passed.
            LLMError: The body exceeds a size limit.
        """
        self._read_on(max_bytes)
        try:
            return b"".join(self)[:max_bytes]
        finally:
            self.close()

    def read_error(self) -> None:
        """Read an error's body, without the key, into ``content``, which stays empty for a user's own endpoint."""
        self._note_error(self.read(LONGEST_ERROR))

    def drain(self) -> None:
        """Read and drop what follows a stream's last event, so that the connection can be reused. Ignores errors."""
        self._ticket.limit_next_wait(DRAIN_SECONDS)
        with suppress(httpx2.HTTPError, LLMError):
            self.read(MOST_DRAINED)


class AsyncResponse(_Response[aiohttp.StreamReader]):
    """A response in an asynchronous call. ``async for`` over it yields the decompressed pieces of its body."""

    _turn_ends_at = 0.0

    async def yield_to_loop(self) -> None:
        """Let other tasks run if this one has read buffered data, which never suspends it, for `TURN_SECONDS`."""
        if self._ticket.clock() >= self._turn_ends_at:
            await asyncio.sleep(0)
            self._turn_ends_at = self._ticket.clock() + TURN_SECONDS

    async def _part(self) -> bytes:
        ticket = self._ticket
        try:
            try:
                async with asyncio.timeout(ticket.due - ticket.clock()):
                    return await self._body.readany()
            except TimeoutError:
                if not ticket.extend_if_late():
                    raise
            async with asyncio.timeout(LOOK_SECONDS):
                return await self._body.readany()
        except BROKEN as error:
            failure = to_httpx_error(error)
        raise failure

    async def __aiter__(self) -> AsyncIterator[bytes]:
        context = copy_context_without_caller()
        while self._bytes < self._enough:
            if not (part := await await_without_caller(self._part(), context)):
                return
            # Whatever has come since the last part, the event loop took it in: everybody had a turn.
            self._turn_ends_at = self._ticket.clock() + TURN_SECONDS
            for piece in self._pieces(part):
                yield piece
                if self.has_more:
                    await self.yield_to_loop()

    async def read(self, max_bytes: int = sys.maxsize) -> bytes:
        """Asynchronous version of `Response.read`."""
        self._read_on(max_bytes)
        try:
            pieces = [piece async for piece in self]
            if self._bytes <= LONG_BODY:
                return b"".join(pieces)[:max_bytes]
            return (await await_without_caller(asyncio.to_thread(b"".join, pieces)))[:max_bytes]
        finally:
            self.close()

    async def read_error(self) -> None:
        """Asynchronous version of `Response.read_error`."""
        self._note_error(await self.read(LONGEST_ERROR))

    async def drain(self) -> None:
        """Asynchronous version of `Response.drain`."""
        self._ticket.limit_next_wait(DRAIN_SECONDS)
        with suppress(httpx2.HTTPError, LLMError):
            await self.read(MOST_DRAINED)
