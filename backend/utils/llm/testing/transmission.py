"""Turns a reply into bytes and pauses. Pure functions, so that every wire and fault can be tested without a socket."""

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
from .wire import Utterance, estimate_tokens, slices, words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .replies import Answer, Reply
    from .wire import Prompt, Wire

Framing: TypeAlias = Literal["length", "chunked"]
Ending: TypeAlias = Literal["clean", "cut", "never", "reset"]

_BODY_SLICES = 4
_REASONING_TOKENS = 16
_COMMENT = b": PROCESSING\n\n"
_PAGE = "<!doctype html><html><head><title>Sign in</title></head><body><h1>Sign in</h1></body></html>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request to the loopback provider, with what is needed to turn a reply to it into bytes.

    Attributes:
        number: The request's number at this server, from 1.
        model: The model's name in the request.
        served_model: The model's name for the answer.
        prompt: The request as read by its wire.
        body: The request's JSON.
        stream: Whether the request asks for server-sent events.
    """

    wire: Wire
    number: int
    model: str
    served_model: str
    prompt: Prompt
    body: Mapping[str, Any]
    stream: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Transmission:
    """An answer as bytes to send: its pieces, the pauses between them, and how the connection ends.

    Attributes:
        opening: Pieces sent before the body.
        opening_gap_seconds: The wait after each piece of the opening.
        pieces: The pieces of the body.
        framing: ``length``: with a Content-Length, that of all pieces, sent or not. ``chunked``: as HTTP chunks.
        send: The number of pieces of the body to send before the ending; None for all.
        ending: ``clean``; ``cut``: the connection drops; ``never`` and
            ``reset``: not even a status is sent.
        delay_seconds: The wait before the first byte.
        gap_seconds: The wait before each further piece of the body.
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


def compose(reply: Reply, exchange: Exchange) -> Transmission:
    """Turn ``reply`` into the bytes and pauses that answer the request of ``exchange``."""
    match reply:
        case SlowFirstByte() | Trickle() | KeepAlive():
            return _held_up(reply, exchange)
        case Text() | ToolCalls() | Json() | Refusal() | Empty():
            return _transmit(_utter(reply, exchange), exchange)
        case Cut() | CleanEnd() | StreamError():
            return _broken_off(reply, exchange)
        case _:
            return _anything(reply, exchange)


def _held_up(reply: SlowFirstByte | Trickle | KeepAlive, exchange: Exchange) -> Transmission:
    match reply:
        case SlowFirstByte(seconds, then):
            later = compose(then, exchange)
            return replace(later, delay_seconds=later.delay_seconds + seconds)
        case Trickle(whole, gap_seconds):
            return replace(compose(whole, exchange), gap_seconds=gap_seconds)
        case KeepAlive(gap_seconds, then, count):
            signs = (_COMMENT if exchange.stream else b" ",) * count
            return replace(compose(then, exchange), opening=signs, opening_gap_seconds=gap_seconds)
        case _:
            assert_never(reply)


def _broken_off(fault: Cut | CleanEnd | StreamError, exchange: Exchange) -> Transmission:
    match fault:
        case Cut():
            return _cut(fault, exchange)
        case CleanEnd(after_chunks, text):
            return _transmit(_unfinished(words(text)[:after_chunks], exchange), exchange)
        case StreamError():
            return _stream_error(fault, exchange)
        case _:
            assert_never(fault)


def _anything(fault: Status | Raw | WrongJson | Html | Hang | Reset, exchange: Exchange) -> Transmission:
    match fault:
        case Hang():
            return Transmission(ending="never")
        case Reset():
            return Transmission(ending="reset")
        case Status():
            return _error(fault, exchange.wire)
        case Html():
            return Transmission(content_type="text/html; charset=utf-8", pieces=(_PAGE.encode(),))
        case WrongJson():
            return _wrong_json(exchange)
        case Raw(status, body, content_type, headers):
            rows = tuple(headers.items())
            events = content_type.startswith("text/event-stream")
            pieces = tuple(piece.encode() for piece in _events(body)) if events else (body.encode(),)
            return Transmission(status=status, content_type=content_type, headers=rows, pieces=pieces)
        case _:
            assert_never(fault)


def _events(body: str) -> tuple[str, ...]:
    """The events of a stream, each with the empty line that ends it."""
    return tuple(re.findall(r".+?(?:\n\n|\Z)", body, re.DOTALL))


def _error(status: Status, wire: Wire) -> Transmission:
    body, headers = wire.error(status)
    return Transmission(
        status=status.code, headers=tuple(headers.items()), pieces=(json.dumps(body).encode(),)
    )


def _wrong_json(exchange: Exchange) -> Transmission:
    broken = '{"id": "1", "choices": [{'
    if exchange.stream:
        return _stream((f"data: {broken}\n\n".encode(),))
    return Transmission(pieces=(broken.encode(),))


def _cut(reply: Cut, exchange: Exchange) -> Transmission:
    if exchange.stream:
        begun = _unfinished(words(reply.text)[: reply.after_chunks], exchange)
        return replace(_transmit(begun, exchange), ending="cut")
    whole = _transmit(_utter(Text(reply.text), exchange), exchange)
    pieces = _sliced(b"".join(whole.pieces), reply.after_chunks + 1)
    return replace(whole, pieces=pieces, send=reply.after_chunks, ending="cut")


def _stream_error(reply: StreamError, exchange: Exchange) -> Transmission:
    kind = {"type": "error"} if exchange.wire.names_events else {}
    error = json.dumps({**kind, "error": dict(reply.error)})
    if not exchange.stream:
        return Transmission(pieces=(error.encode(),))
    begun = _transmit(_unfinished(words(reply.text)[: reply.after_chunks], exchange), exchange)
    return replace(begun, pieces=(*begun.pieces, _event(error, exchange.wire)))


def _transmit(utterance: Utterance, exchange: Exchange) -> Transmission:
    if exchange.stream:
        return _stream(
            tuple(_event(data, exchange.wire) for data in exchange.wire.events(utterance, exchange.body))
        )
    body = json.dumps(exchange.wire.whole(utterance, exchange.body), ensure_ascii=False).encode()
    return Transmission(pieces=_sliced(body, _BODY_SLICES))


def _stream(events: tuple[bytes, ...]) -> Transmission:
    return Transmission(content_type="text/event-stream", pieces=events, framing="chunked")


def _event(data: str, wire: Wire) -> bytes:
    name = f"event: {json.loads(data)['type']}\n" if wire.names_events else ""
    return f"{name}data: {data}\n\n".encode()


def _sliced(body: bytes, count: int) -> tuple[bytes, ...]:
    return tuple(piece.encode("latin-1") for piece in slices(body.decode("latin-1"), count))


def _utter(answer: Answer, exchange: Exchange) -> Utterance:
    match answer:
        case Text(text, finish=finish, chunks=chunks, beside=beside):
            pieces = words(text) if chunks is None else slices(text, chunks)
            silent = _silent(exchange, answer.usage, text)
            return replace(silent, pieces=pieces, finish=finish, beside=beside)
        case ToolCalls(calls):
            sent = json.dumps([dict(arguments) for _, arguments in calls])
            return replace(_silent(exchange, answer.usage, sent), calls=calls)
        case Json(value):
            return _utter(_formed(value, answer.usage, exchange.prompt), exchange)
        case Refusal(text, by="model", chunks=chunks):
            return replace(_silent(exchange, None, text), refusal=slices(text, chunks))
        case Refusal():
            return replace(_silent(exchange, None, ""), blocked=True, finish="content_filter")
        case Empty():
            return replace(_silent(exchange, None, ""), candidates=answer.candidates)
        case _:
            assert_never(answer)


def _formed(value: object, usage: Usage | None, prompt: Prompt) -> Text | ToolCalls:
    if prompt.forced and isinstance(value, dict):
        return ToolCalls(((prompt.forced[0], value),), usage=usage)
    return Text(json.dumps(value, ensure_ascii=False), usage=usage)


def _unfinished(pieces: tuple[str, ...], exchange: Exchange) -> Utterance:
    return replace(_silent(exchange, None, "".join(pieces)), pieces=pieces, finish=None)


def _silent(exchange: Exchange, usage: Usage | None, text: str) -> Utterance:
    return Utterance(
        number=exchange.number,
        model=exchange.served_model,
        usage=usage or _estimate(exchange.prompt, text),
        logprobs=exchange.prompt.logprobs,
    )


def _estimate(prompt: Prompt, text: str) -> Usage:
    asked = "".join(turn.text for turn in prompt.turns) + "".join(
        f"{tool.name}{tool.description}{json.dumps(tool.parameters)}" for tool in prompt.tools
    )
    reasoning = _REASONING_TOKENS if prompt.reasoning else 0
    answered = estimate_tokens(text) if text else 0
    return Usage(estimate_tokens(asked), answered + reasoning, reasoning_tokens=reasoning)
