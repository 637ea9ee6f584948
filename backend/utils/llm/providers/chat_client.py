"""Sends requests and reads answers as JSON, without an SDK's own request path.

An SDK converts every request and every answer through its own types, which takes two thirds of a call's CPU time. Its
other work is done by our transport: addresses, keys, timeouts, retries.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import closing
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Protocol, cast

import httpx2
from langchain_core.messages import message_chunk_to_message
from langchain_core.messages.ai import add_ai_message_chunks

from ..caller import without_caller
from ..failures import BadAnswer, Category
from ..transport import ERROR_STATUS, LONG_BODY, ExcessError, Request
from .answer import AnswerStream, message_of
from .ask import NotWordedError, ProviderError
from .events import BLANK, EVENTS, EventParser
from .loose_json import read_document, read_documents

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator, Mapping

    from langchain_core.messages import AIMessage, AIMessageChunk
    from langchain_core.outputs import ChatGenerationChunk

    from ..errors import LLMError
    from ..transport import AsyncResponse, Response, SigningTransport, Ticket
    from .answer import Answer
    from .ask import ModelRequest, Serialized

log = logging.getLogger(__name__)

_LONGEST_SENTENCE = 2000
_BRACKETS = (b"{", b"[")
_SECONDS_FOR_USAGE = 2.0
"""Providers tell it at once. Some gateways never do, nor that the stream is over."""


class AnswerReader(Protocol):
    """Parses one answer of an API, whole or event by event, and tolerates any content."""

    def answer(self, document: dict[str, Any]) -> Answer:
        """Parse a whole answer.

        Raises:
            ProviderError: ``document`` is an error.
            BadAnswer: ``document`` is neither an answer nor an error.
        """
        ...

    def event(self, document: dict[str, Any]) -> Answer | None:
        """Parse one event of a stream; None if the event adds nothing to the answer.

        Raises:
            ProviderError: ``document`` is an error.
        """
        ...

    @property
    def is_over(self) -> bool:
        """Whether the answer is complete, so that later events can be ignored."""
        ...


class ChatApi(Protocol):
    """An API: serializes its requests and makes readers of its answers. It holds no key and no address."""

    def serialize(self, request: ModelRequest, *, streams: bool) -> Serialized:
        """Serialize ``request`` for the API.

        Raises:
            NotWordedError: The API has no form for a part of ``request``.
        """
        ...

    def reader(self, request: ModelRequest) -> AnswerReader:
        """A reader of the answer to ``request``."""
        ...


class ChatClient:
    """Sends requests of one API, and reads the answers. There is one for each kind of endpoint; it holds no key."""

    def __init__(self, api: ChatApi, transport: SigningTransport) -> None:
        self._api = api
        self._transport = transport

    def generate(self, request: ModelRequest) -> AIMessage:
        """The whole answer to ``request``.

        Raises:
            NotWordedError: The API has no form for a part of ``request``.
            ProviderError: The provider answered with an error.
            BadAnswer: The body is JSON but no answer.
            LLMError: The request was not sent, or the answer exceeds the bounds for its server.
            httpx2.TransportError: No answer came, or only a part.
            ValueError: The body is no JSON.
        """
        signed = self._serialized(request, streams=False)
        response = self._transport.send(request.ticket.number, signed)
        _raise_for_status(response)
        return self._message(response.read(), request)

    async def agenerate(self, request: ModelRequest) -> AIMessage:
        """The whole answer to ``request``, awaited; as `generate`."""
        signed = self._serialized(request, streams=False)
        response = await self._transport.asend(request.ticket.number, signed)
        _raise_for_status(response)
        document = await response.read()
        if len(document) <= LONG_BODY:
            return self._message(document, request)
        return await without_caller(asyncio.to_thread(self._message, document, request))

    def stream(self, request: ModelRequest) -> Generator[ChatGenerationChunk]:
        """The answer to ``request`` in chunks as they arrive. Close the generator if you leave it before its end.

        Raises:
            ProviderError: The provider answered with an error. All other errors are those of `generate`.
        """
        signed = self._serialized(request, streams=True)
        response = self._transport.send(request.ticket.number, signed)
        _raise_for_status(response)
        stream = self._stream_reader(request, response)
        with closing(response):
            try:
                for part in response:
                    yield from stream.read(part, has_more=response.has_more)
                    if stream.is_over:
                        response.drain()
                        break
                    stream.expect_end()
            except httpx2.TransportError:
                if not stream.has_ended:
                    raise
                stream.forget_half()
            yield from stream.flush()

    async def astream(self, request: ModelRequest) -> AsyncGenerator[ChatGenerationChunk]:
        """The answer to ``request`` in chunks, asynchronously; as `stream`."""
        signed = self._serialized(request, streams=True)
        response = await self._transport.asend(request.ticket.number, signed)
        _raise_for_status(response)
        stream = self._stream_reader(request, response)
        with closing(response):
            try:
                async for part in response:
                    chunks = stream.read(part, has_more=response.has_more)
                    for chunk in await _begun_in_a_thread(chunks) if stream.is_long(part) else chunks:
                        yield chunk
                        await response.give_way()
                    if stream.is_over:
                        await response.drain()
                        break
                    stream.expect_end()
            except httpx2.TransportError:
                if not stream.has_ended:
                    raise
                stream.forget_half()
            chunks = stream.flush()
            for chunk in await _begun_in_a_thread(chunks) if stream.is_long_to_flush else chunks:
                yield chunk

    def _stream_reader(self, request: ModelRequest, response: Response | AsyncResponse) -> _StreamReader:
        said = response.headers.get("content-type", "")
        return _StreamReader(self._api.reader(request), request.ticket, said)

    def _serialized(self, request: ModelRequest, *, streams: bool) -> Request:
        try:
            path, body, headers = self._api.serialize(request, streams=streams)
            if request.extra_body is not None:
                body = _over(request.extra_body, body)
            content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            log.warning("A request could not be worded: %s", type(error).__name__)
            raise NotWordedError("something in the request could not be worded") from error
        # Half a surrogate pair, which may stand in what the product says, is in no encoding.
        encoded = content.encode(errors="replace")
        return Request(request.endpoint.provider.base_url.rstrip("/") + path, headers, encoded)

    def _message(self, document: bytes, request: ModelRequest) -> AIMessage:
        trust, reader = request.ticket.trust, self._api.reader(request)
        try:
            first, *others = read_documents(document, trust)
            if not others:
                return message_of(reader.answer(first), trust)
        except ExcessError as error:
            raise _refused(request.ticket, error) from None
        except ValueError:
            if not document.lstrip(BLANK).startswith(EVENTS):
                raise
        return _in_one(_StreamReader(reader, request.ticket), document)


def _over(extra: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """``extra`` with the fields of ``body``, which take precedence."""
    return {
        **extra,
        **{
            key: _over(below, value)
            if isinstance(below := extra.get(key), dict) and isinstance(value, dict)
            else value
            for key, value in body.items()
        },
    }


def _in_one(stream: _StreamReader, body: bytes) -> AIMessage:
    """The whole message of ``stream``, because some servers stream, whatever the request asks for.

    Raises:
        BadAnswer: The stream has no end.
    """
    chunks = [chunk.message for chunk in (*stream.read(body, has_more=True), *stream.flush())]
    if not chunks or not stream.has_ended:
        raise BadAnswer(Category.INTERRUPTED)
    message = add_ai_message_chunks(*cast("list[AIMessageChunk]", chunks))
    return cast("AIMessage", message_chunk_to_message(message))


async def _begun_in_a_thread(chunks: Iterator[ChatGenerationChunk]) -> Iterator[ChatGenerationChunk]:
    """``chunks``, the first of which is made in a thread, because parsing up to it may take long."""
    first = await without_caller(asyncio.to_thread(list, islice(chunks, 1)))
    return chain(first, chunks)


class _StreamReader:
    """Reads the body of one stream; also the JSON of a server that does not stream.

    Args:
        content_type: The content type that the server declares. Some declare JSON, and stream.
    """

    def __init__(self, reader: AnswerReader, ticket: Ticket, content_type: str = "") -> None:
        self._reader = reader
        self._ticket = ticket
        self._events = EventParser()
        self._answer = AnswerStream(ticket.trust)
        self._is_document = content_type.startswith("application/json")
        self._is_new = True
        self._document = bytearray()

    @property
    def is_over(self) -> bool:
        """Whether the answer is complete, even if the connection is still open."""
        return self._events.is_over or self._reader.is_over

    @property
    def has_ended(self) -> bool:
        """Whether the finish reason has arrived, so that a connection that then breaks loses no content."""
        return self._answer.has_ended

    def expect_end(self) -> None:
        """Once only usage can follow, wait for it no longer than a moment."""
        if self._answer.is_done:
            self._ticket.expect_within(_SECONDS_FOR_USAGE)

    def is_long(self, part: bytes) -> bool:
        """Whether an event that ``part`` may complete takes long to parse."""
        return (b"\n" in part or b"\r" in part) and len(self._events) > LONG_BODY

    @property
    def is_long_to_flush(self) -> bool:
        """Whether `flush` takes long."""
        return len(self._events) + len(self._document) > LONG_BODY

    def forget_half(self) -> None:
        """Drop the event in the middle of which the connection broke."""
        self._events = EventParser()

    def read(self, part: bytes, *, has_more: bool) -> Iterator[ChatGenerationChunk]:
        """The contents of the events that ``part`` completes. If more has arrived already, some may wait for it."""
        if self._is_new and (begun := part.lstrip(BLANK)):
            self._is_new = False
            self._is_document = begun[:1] in _BRACKETS or (self._is_document and not begun.startswith(EVENTS))
        if self._is_document:
            self._document += part
            return
        yield from self._said(self._events.read(part))
        if self.is_over or not self._answer.may_wait(has_more=has_more):
            yield from self._waiting()

    def flush(self) -> Iterator[ChatGenerationChunk]:
        """The contents held back until the end of the stream."""
        yield from self._said(self._events.flush())
        try:
            if self._is_document:
                self._read_documents()
            last = self._answer.flush()
        except ExcessError as error:
            raise _refused(self._ticket, error) from None
        if last is not None:
            yield last

    def _read_documents(self) -> None:
        first, *others = read_documents(bytes(self._document), self._ticket.trust)
        pieces = map(self._reader.event, (first, *others)) if others else (self._reader.answer(first),)
        for piece in pieces:
            if piece is not None:
                self._answer.add(piece)

    def _said(self, documents: Iterator[bytes]) -> Iterator[ChatGenerationChunk]:
        try:
            for document in documents:
                event = read_document(document, self._ticket.trust)
                if self._events.name:
                    event.setdefault("type", self._events.name)
                piece = self._reader.event(event)
                if piece is not None:
                    if piece.thoughts:
                        self._ticket.expect_more()
                    self._answer.add(piece)
                    if self._answer.is_due:
                        yield from self._waiting()
        except Exception as error:
            yield from self._waiting()
            if isinstance(error, ExcessError):
                raise _refused(self._ticket, error) from None
            raise

    def _waiting(self) -> Iterator[ChatGenerationChunk]:
        chunk = self._answer.chunk()
        if chunk is not None:
            yield chunk


def _refused(ticket: Ticket, error: ExcessError) -> LLMError:
    """The error for an answer beyond a bound, which depends on the server."""
    return ticket.refuse_answer(f"sent more than {error}")


def _raise_for_status(response: Response | AsyncResponse) -> None:
    if response.status >= ERROR_STATUS:
        said = response.content[: 4 * _LONGEST_SENTENCE].decode(errors="replace")[:_LONGEST_SENTENCE]
        raise ProviderError(said, status=response.status)
