"""Sends requests and parses answers without the vendors' SDKs, which take two thirds of a call's CPU time."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import closing
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import httpx2

from ..caller import await_without_caller
from ..transport import ERROR_STATUS, LONG_BODY, AnswerTooLargeError, Request
from .answer import to_ai_message
from .answer_stream import StreamParser, parse_streamed_message, record_oversized_answer
from .ask import InexpressibleRequestError, ProviderError
from .events import BLANK, EVENTS
from .loose_json import parse_json_objects

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator, Mapping

    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatGenerationChunk

    from ..transport import AsyncResponse, Response, SigningTransport
    from .ask import ModelRequest
    from .chat_api import ChatApi

log = logging.getLogger(__name__)

_LONGEST_SENTENCE = 2000


class ChatClient:
    """Sends requests of one API, and parses the answers. Users share the client, because it holds no key."""

    def __init__(self, api: ChatApi, transport: SigningTransport) -> None:
        self._api = api
        self._transport = transport

    def generate(self, request: ModelRequest) -> AIMessage:
        """Send ``request`` and return the complete answer as a message. Blocks the thread.

        Raises:
            InexpressibleRequestError: The API has no form for a part of ``request``.
            ProviderError: The provider reported an error.
            BadAnswer: The body is JSON, but not an answer.
            LLMError: The request was not sent, or the answer exceeds the size bounds for its server.
            httpx2.TransportError: No response came, or only a part of one.
            ValueError: The body is not JSON.
        """
        signed = self._serialized(request, streams=False)
        response = self._transport.send(request.ticket.number, signed)
        _raise_for_status(response)
        return self._message(response.read(), request)

    async def agenerate(self, request: ModelRequest) -> AIMessage:
        """Send ``request`` and return the complete answer as a message. The async version of `generate`."""
        signed = self._serialized(request, streams=False)
        response = await self._transport.asend(request.ticket.number, signed)
        _raise_for_status(response)
        document = await response.read()
        if len(document) <= LONG_BODY:
            return self._message(document, request)
        return await await_without_caller(asyncio.to_thread(self._message, document, request))

    def stream(self, request: ModelRequest) -> Generator[ChatGenerationChunk]:
        """Send ``request`` and yield the answer's chunks as they arrive. Raises the errors of `generate`.

        If you stop early, close the generator, so that the connection is released.
        """
        signed = self._serialized(request, streams=True)
        response = self._transport.send(request.ticket.number, signed)
        _raise_for_status(response)
        stream = self._stream_reader(request, response)
        with closing(response):
            try:
                for part in response:
                    yield from stream.feed(part, has_more=response.has_more)
                    if stream.is_over:
                        response.drain()
                        break
                    stream.shorten_wait_for_usage()
            except httpx2.TransportError:
                if not stream.has_finish_reason:
                    raise
                stream.drop_partial_event()
            yield from stream.flush()

    async def astream(self, request: ModelRequest) -> AsyncGenerator[ChatGenerationChunk]:
        """Send ``request`` and yield the answer's chunks as they arrive. The async version of `stream`."""
        signed = self._serialized(request, streams=True)
        response = await self._transport.asend(request.ticket.number, signed)
        _raise_for_status(response)
        stream = self._stream_reader(request, response)
        with closing(response):
            try:
                async for part in response:
                    chunks = stream.feed(part, has_more=response.has_more)
                    for chunk in (
                        await _begun_in_a_thread(chunks) if stream.should_parse_in_thread(part) else chunks
                    ):
                        yield chunk
                        await response.yield_to_loop()
                    if stream.is_over:
                        await response.drain()
                        break
                    stream.shorten_wait_for_usage()
            except httpx2.TransportError:
                if not stream.has_finish_reason:
                    raise
                stream.drop_partial_event()
            chunks = stream.flush()
            for chunk in await _begun_in_a_thread(chunks) if stream.should_flush_in_thread else chunks:
                yield chunk

    def _stream_reader(self, request: ModelRequest, response: Response | AsyncResponse) -> StreamParser:
        content_type = response.headers.get("content-type", "")
        return StreamParser(self._api.make_answer_reader(request), request.ticket, content_type)

    def _serialized(self, request: ModelRequest, *, streams: bool) -> Request:
        try:
            path, body, headers = self._api.serialize(request, streams=streams)
            if request.extra_body is not None:
                body = _over(request.extra_body, body)
            content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            log.warning("A request could not be worded: %s", type(error).__name__)
            raise InexpressibleRequestError("something in the request could not be worded") from error
        # Half a surrogate pair, which may stand in what the product says, is in no encoding.
        encoded = content.encode(errors="replace")
        return Request(request.endpoint.provider.base_url.rstrip("/") + path, headers, encoded)

    def _message(self, document: bytes, request: ModelRequest) -> AIMessage:
        trust, reader = request.ticket.trust, self._api.make_answer_reader(request)
        try:
            first, *others = parse_json_objects(document, trust)
            if not others:
                return to_ai_message(reader.parse_answer(first), trust)
        except AnswerTooLargeError as error:
            raise record_oversized_answer(request.ticket, error) from None
        except ValueError:
            if not document.lstrip(BLANK).startswith(EVENTS):
                raise
        return parse_streamed_message(StreamParser(reader, request.ticket), document)


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


async def _begun_in_a_thread(chunks: Iterator[ChatGenerationChunk]) -> Iterator[ChatGenerationChunk]:
    """``chunks``, the first of which is made in a thread, because parsing up to it may take long."""
    first = await await_without_caller(asyncio.to_thread(list, islice(chunks, 1)))
    return chain(first, chunks)


def _raise_for_status(response: Response | AsyncResponse) -> None:
    if response.status >= ERROR_STATUS:
        text = response.content[: 4 * _LONGEST_SENTENCE].decode(errors="replace")[:_LONGEST_SENTENCE]
        raise ProviderError(text, status=response.status)
