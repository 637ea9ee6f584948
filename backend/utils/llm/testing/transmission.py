"""Turns a reply into an HTTP response with pauses, by pure functions that can be tested without a socket."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, assert_never

from .replies import (
    CleanEnd,
    Cut,
    Empty,
    Hang,
    Html,
    Json,
    KeepAlive,
    Raw,
    Refusal,
    Reset,
    SlowFirstByte,
    Status,
    StreamError,
    Text,
    ToolCalls,
    Trickle,
    Usage,
    WrongJson,
)
from .wire import PlannedAnswer, estimate_tokens, split_evenly, split_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .replies import Answer, Reply
    from .wire import FakeProviderApi, ParsedRequest

Framing: TypeAlias = Literal["length", "chunked"]
Ending: TypeAlias = Literal["clean", "cut", "never", "reset"]

_BODY_SLICES = 4
_REASONING_TOKENS = 16
_COMMENT = b": PROCESSING\n\n"
_PAGE = "<!doctype html><html><head><title>Sign in</title></head><body><h1>Sign in</h1></body></html>"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyContext:
    """A request to the loopback provider, with the data that turns a reply into an HTTP response.

    Attributes:
        wire: The provider API that the request's path belongs to.
        number: The request's number at this server, counted from 1.
        model: The model's name in the request.
        served_model: The model's name for the answer.
        prompt: The parsed request.
        body: The request's JSON.
        stream: Whether the request asks for server-sent events.
    """

    wire: FakeProviderApi
    number: int
    model: str
    served_model: str
    prompt: ParsedRequest
    body: Mapping[str, Any]
    stream: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedResponse:
    """An HTTP response, with the pauses between its pieces, and how the connection ends.

    Attributes:
        status: The HTTP status.
        content_type: The content type.
        headers: Further headers.
        opening: Pieces sent before the body, such as keep-alives.
        opening_gap_seconds: The pause after each piece of the opening.
        pieces: The pieces of the body.
        framing: ``length``: with the Content-Length of all pieces, even if not all are sent. ``chunked``: as
            HTTP chunks.
        send: The number of pieces of the body to send; None for all.
        ending: ``clean``: the response is complete. ``cut``: the connection drops. ``never``: nothing is
            ever sent. ``reset``: the connection is reset before anything is sent.
        delay_seconds: The pause before the first byte.
        gap_seconds: The pause before each further piece of the body.
    """

    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    opening: tuple[bytes, ...] = ()
    opening_gap_seconds: float = 0.0
    pieces: tuple[bytes, ...] = ()
    framing: Framing = "length"
    send: int | None = None
    ending: Ending = "clean"
    delay_seconds: float = 0.0
    gap_seconds: float = 0.0


def compose_response(reply: Reply, exchange: ReplyContext) -> TimedResponse:
    """Turn a scripted ``reply`` into the HTTP response to send, in the form of the request's API."""
    match reply:
        case SlowFirstByte() | Trickle() | KeepAlive():
            return _held_up(reply, exchange)
        case Text() | ToolCalls() | Json() | Refusal() | Empty():
            return _transmit(_utter(reply, exchange), exchange)
        case Cut() | CleanEnd() | StreamError():
            return _broken_off(reply, exchange)
        case _:
            return _anything(reply, exchange)


def _held_up(reply: SlowFirstByte | Trickle | KeepAlive, exchange: ReplyContext) -> TimedResponse:
    match reply:
        case SlowFirstByte(seconds, then):
            later = compose_response(then, exchange)
            return replace(later, delay_seconds=later.delay_seconds + seconds)
        case Trickle(whole, gap_seconds):
            return replace(compose_response(whole, exchange), gap_seconds=gap_seconds)
        case KeepAlive(gap_seconds, then, count):
            signs = (_COMMENT if exchange.stream else b" ",) * count
            return replace(compose_response(then, exchange), opening=signs, opening_gap_seconds=gap_seconds)
        case _:
            assert_never(reply)


def _broken_off(fault: Cut | CleanEnd | StreamError, exchange: ReplyContext) -> TimedResponse:
    match fault:
        case Cut():
            return _cut(fault, exchange)
        case CleanEnd(after_chunks, text):
            return _transmit(_unfinished(split_words(text)[:after_chunks], exchange), exchange)
        case StreamError():
            return _stream_error(fault, exchange)
        case _:
            assert_never(fault)


def _anything(fault: Status | Raw | WrongJson | Html | Hang | Reset, exchange: ReplyContext) -> TimedResponse:
    match fault:
        case Hang():
            return TimedResponse(ending="never")
        case Reset():
            return TimedResponse(ending="reset")
        case Status():
            return _error(fault, exchange.wire)
        case Html():
            return TimedResponse(content_type="text/html; charset=utf-8", pieces=(_PAGE.encode(),))
        case WrongJson():
            return _wrong_json(exchange)
        case Raw(status, body, content_type, headers):
            rows = tuple(headers.items())
            events = content_type.startswith("text/event-stream")
            pieces = tuple(piece.encode() for piece in _events(body)) if events else (body.encode(),)
            return TimedResponse(status=status, content_type=content_type, headers=rows, pieces=pieces)
        case _:
            assert_never(fault)


def _events(body: str) -> tuple[str, ...]:
    """The events of a stream, each with the empty line that ends it."""
    return tuple(re.findall(r".+?(?:\n\n|\Z)", body, re.DOTALL))


def _error(status: Status, wire: FakeProviderApi) -> TimedResponse:
    body, headers = wire.make_error_body_and_headers(status)
    return TimedResponse(
        status=status.code, headers=tuple(headers.items()), pieces=(json.dumps(body).encode(),)
    )


def _wrong_json(exchange: ReplyContext) -> TimedResponse:
    broken = '{"id": "1", "choices": [{'
    if exchange.stream:
        return _stream((f"data: {broken}\n\n".encode(),))
    return TimedResponse(pieces=(broken.encode(),))


def _cut(reply: Cut, exchange: ReplyContext) -> TimedResponse:
    if exchange.stream:
        begun = _unfinished(split_words(reply.text)[: reply.after_chunks], exchange)
        return replace(_transmit(begun, exchange), ending="cut")
    whole = _transmit(_utter(Text(reply.text), exchange), exchange)
    pieces = _sliced(b"".join(whole.pieces), reply.after_chunks + 1)
    return replace(whole, pieces=pieces, send=reply.after_chunks, ending="cut")


def _stream_error(reply: StreamError, exchange: ReplyContext) -> TimedResponse:
    kind = {"type": "error"} if exchange.wire.has_event_names else {}
    error = json.dumps({**kind, "error": dict(reply.error)})
    if not exchange.stream:
        return TimedResponse(pieces=(error.encode(),))
    begun = _transmit(_unfinished(split_words(reply.text)[: reply.after_chunks], exchange), exchange)
    return replace(begun, pieces=(*begun.pieces, _event(error, exchange.wire)))


def _transmit(utterance: PlannedAnswer, exchange: ReplyContext) -> TimedResponse:
    if exchange.stream:
        return _stream(
            tuple(
                _event(data, exchange.wire)
                for data in exchange.wire.make_stream_events(utterance, exchange.body)
            )
        )
    body = json.dumps(exchange.wire.make_response_body(utterance, exchange.body), ensure_ascii=False).encode()
    return TimedResponse(pieces=_sliced(body, _BODY_SLICES))


def _stream(events: tuple[bytes, ...]) -> TimedResponse:
    return TimedResponse(content_type="text/event-stream", pieces=events, framing="chunked")


def _event(data: str, wire: FakeProviderApi) -> bytes:
    name = f"event: {json.loads(data)['type']}\n" if wire.has_event_names else ""
    return f"{name}data: {data}\n\n".encode()


def _sliced(body: bytes, count: int) -> tuple[bytes, ...]:
    return tuple(piece.encode("latin-1") for piece in split_evenly(body.decode("latin-1"), count))


def _utter(answer: Answer, exchange: ReplyContext) -> PlannedAnswer:
    match answer:
        case Text(text, finish=finish, chunks=chunks, beside=beside):
            pieces = split_words(text) if chunks is None else split_evenly(text, chunks)
            silent = _silent(exchange, answer.usage, text)
            return replace(silent, pieces=pieces, finish=finish, beside=beside)
        case ToolCalls(calls):
            sent = json.dumps([dict(arguments) for _, arguments in calls])
            return replace(_silent(exchange, answer.usage, sent), calls=calls)
        case Json(value):
            return _utter(_formed(value, answer.usage, exchange.prompt), exchange)
        case Refusal(text, by="model", chunks=chunks):
            return replace(_silent(exchange, None, text), refusal=split_evenly(text, chunks))
        case Refusal():
            return replace(_silent(exchange, None, ""), blocked=True, finish="content_filter")
        case Empty():
            return replace(_silent(exchange, None, ""), candidates=answer.candidates)
        case _:
            assert_never(answer)


def _formed(value: object, usage: Usage | None, prompt: ParsedRequest) -> Text | ToolCalls:
    if prompt.forced and isinstance(value, dict):
        return ToolCalls(((prompt.forced[0], value),), usage=usage)
    return Text(json.dumps(value, ensure_ascii=False), usage=usage)


def _unfinished(pieces: tuple[str, ...], exchange: ReplyContext) -> PlannedAnswer:
    return replace(_silent(exchange, None, "".join(pieces)), pieces=pieces, finish=None)


def _silent(exchange: ReplyContext, usage: Usage | None, text: str) -> PlannedAnswer:
    return PlannedAnswer(
        number=exchange.number,
        model=exchange.served_model,
        usage=usage or _estimate(exchange.prompt, text),
        logprobs=exchange.prompt.logprobs,
    )


def _estimate(prompt: ParsedRequest, text: str) -> Usage:
    asked = "".join(turn.text for turn in prompt.turns) + "".join(
        f"{tool.name}{tool.description}{json.dumps(tool.parameters)}" for tool in prompt.tools
    )
    reasoning = _REASONING_TOKENS if prompt.reasoning else 0
    answered = estimate_tokens(text) if text else 0
    return Usage(estimate_tokens(asked), answered + reasoning, reasoning_tokens=reasoning)
