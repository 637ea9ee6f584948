"""A provider of the house's that is broken, or broken into, costs a call no more than a moment, and no memory."""

from __future__ import annotations

import gzip
import itertools
import json
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from backend.tests.fakes.work import stays_within
from backend.utils.llm import Patchbay, Table
from backend.utils.llm.errors import (
    LLMError,
    ProviderDownError,
    RejectedRequestError,
    StreamInterruptedError,
)
from backend.utils.llm.providers.answer_stream import EAGER
from backend.utils.llm.testing.patchbays import HOUSE_KEYS
from backend.utils.llm.transport.redaction import KeyRedaction
from backend.utils.llm.transport.response import LONGEST_ERROR
from backend.utils.llm.transport.trust import HOUSE
from backend.utils.llm.transport.unpacking import BodyDecompressor

from .tables import table_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from backend.tests.fakes.strangers import Stranger

    from .drivers import Driver


PACKED = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "deflate, bare": lambda body: zlib.compress(body)[2:-4],
    "x-gzip": gzip.compress,
    "utf-8, which packs nothing": bytes,
}
TYPES = {"Content-Type": "application/json"}
EVENTS = {"Content-Type": "text/event-stream"}


@pytest.fixture
def patchbay(server: Stranger, wire: str) -> Iterator[Patchbay]:
    """Its feature ``f`` is asked of ``server`` once."""
    made = Patchbay(Table(text=table_at(server, wire), environ=HOUSE_KEYS))
    made.warm_up()
    yield made
    made.close()


def event(wire: str, text: str, *, end: bool = False) -> bytes:
    """One of a stream's: a piece of text, and the end if it is the last."""
    match wire:
        case "openai":
            choice = {"index": 0, "delta": {"content": text}, "finish_reason": "stop" if end else None}
            told: dict[str, Any] = {"choices": [choice]}
        case "responses" if end:
            response = {"id": "1", "status": "completed", "output": [], "model": "m"}
            told = {"type": "response.completed", "response": response}
        case "responses":
            told = {"type": "response.output_text.delta", "delta": text, "output_index": 0, "item_id": "1"}
        case "anthropic" if end:
            told = {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": {"output_tokens": 1},
            }
        case "anthropic":
            told = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
        case _:
            content = {"role": "model", "parts": [{"text": text}]}
            told = {"candidates": [{"content": content, **({"finishReason": "STOP"} if end else {})}]}
    return b"data: " + json.dumps(told).encode() + b"\n\n"


def packed(pack: str, body: bytes) -> dict[str, str]:
    return {"Content-Encoding": pack.partition(",")[0], "Content-Length": str(len(body))}


@pytest.mark.parametrize("pack", PACKED)
def test_a_packed_stream_is_read_to_its_end(
    patchbay: Patchbay, server: Stranger, wire: str, stream: Driver, pack: str
) -> None:
    body = PACKED[pack](event(wire, "all ") + event(wire, "is well") + event(wire, "", end=True))
    server.reply = 200, {**EVENTS, **packed(pack, body)}, [body[:20], body[20:]]

    assert stream(patchbay.get_llm("f"), "hi").text.strip() == "all is well"


def bomb(megabytes: int) -> bytes:
    packing = zlib.compressobj(9, zlib.DEFLATED, 31)
    part = b"x" * 1_000_000
    return b"".join([*(packing.compress(part) for _ in range(megabytes)), packing.flush()])


def memory_of(call: Callable[[], object]) -> int:
    """The most bytes that ``call`` held at once."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


BOMB = bomb(100)
ERRORS: dict[str, tuple[dict[str, str], Iterable[bytes]]] = {
    "that has no end": (TYPES, itertools.repeat(b"x" * 65_536)),
    "that unpacks to a hundred times as much": ({**TYPES, **packed("gzip", BOMB)}, [BOMB]),
    "of very many values": (TYPES, [b'{"error": [' + b"[]," * 1_000_000 + b"[]]}"]),
    "of many escapes": (TYPES, [b'{"error": {"message": "' + b"\\\\" * 2_000_000 + b'"}}']),
    "that is deep": (TYPES, [b'{"error":' + b"[" * 60_000]),
    "of one number": (TYPES, [b'{"error": {"code": ' + b"9" * 60_000 + b"}}"]),
}


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_is_read_as_far_as_it_is_looked_at(
    patchbay: Patchbay, server: Stranger, call: Driver, error: str
) -> None:
    server.reply = 400, *ERRORS[error]

    def failing() -> None:
        with pytest.raises(RejectedRequestError):
            call(patchbay.get_llm("f"), "hi")

    assert memory_of(failing) < 10_000_000
    assert stays_within(1, failing)


ANSWERS: dict[str, tuple[dict[str, str], Iterable[bytes]]] = {
    "without an end": (TYPES, itertools.repeat(b" " * 65_536)),
    "that unpacks to a hundred times as much": ({**TYPES, **packed("gzip", BOMB)}, [BOMB]),
    "of very many values": (TYPES, [b'{"choices": [' + b"[]," * 1_000_000 + b"[]]}"]),
    "in one endless line": (EVENTS, itertools.chain([b"data: {"], itertools.repeat(b" " * 65_536))),
    "of nothing but lines": (EVENTS, itertools.repeat(b"\n" * 65_536)),
    "packed as nobody asked": ({**TYPES, "Content-Encoding": "br"}, [b"\x0b\x02\x80{}\x03"]),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_is_taken_up_to_a_limit_and_is_the_providers_failure(
    patchbay: Patchbay, server: Stranger, call: Driver, answer: str
) -> None:
    server.reply = 200, *ANSWERS[answer]

    with pytest.raises(ProviderDownError) as caught:
        call(patchbay.get_llm("f"), "hi")

    assert [attempt.category for attempt in caught.value.attempts] == ["unreadable"]


def calls_of(wire: str, count: int) -> bytes:
    """A whole answer that calls a tool so many times."""
    named = {"name": "f", "arguments": "{}"}
    match wire:
        case "openai":
            calls = [{"id": str(at), "type": "function", "function": named} for at in range(count)]
            message = {"role": "assistant", "content": None, "tool_calls": calls}
            choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
            told: dict[str, Any] = {"choices": [choice], "model": "m"}
        case "responses":
            items = [{"type": "function_call", "call_id": str(at), **named} for at in range(count)]
            told = {"id": "1", "status": "completed", "output": items, "model": "m"}
        case "anthropic":
            blocks = [{"type": "tool_use", "id": str(at), "name": "f", "input": {}} for at in range(count)]
            told = {"id": "1", "type": "message", "content": blocks, "stop_reason": "tool_use", "model": "m"}
        case _:
            parts = [{"functionCall": {"name": "f", "args": {}}}] * count
            told = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
    return json.dumps(told).encode()


def test_an_answer_calls_tools_a_number_of_times(
    patchbay: Patchbay, server: Stranger, wire: str, whole: Driver
) -> None:
    server.reply = 200, TYPES, [calls_of(wire, 20)]
    assert len(whole(patchbay.get_llm("f"), "hi").tool_calls) == 20

    server.reply = 200, TYPES, [calls_of(wire, 10_000)]
    with pytest.raises(ProviderDownError, match="sent more than 1,000"):
        whole(patchbay.get_llm("f"), "hi")


def test_very_many_small_events_are_served_in_fewer_chunks(
    patchbay: Patchbay, server: Stranger, wire: str
) -> None:
    end = event(wire, "", end=True)
    server.reply = 200, EVENTS, [*itertools.repeat(event(wire, "é") * 100, 100), end]

    chunks = list(patchbay.get_llm("f").stream("hi"))

    assert "".join(chunk.text for chunk in chunks) == "é" * 10_000
    assert len(chunks) < 2000


def test_what_came_before_a_broken_event_is_handed_on(
    patchbay: Patchbay, server: Stranger, wire: str
) -> None:
    server.reply = 200, EVENTS, [event(wire, "a") * 1000 + b"data: {broken\n\n"]

    with pytest.raises(StreamInterruptedError) as caught:
        list(patchbay.get_llm("f").stream("hi"))

    assert caught.value.partial == "a" * 1000


def test_the_events_of_a_short_answer_stay_chunks_of_their_own(
    patchbay: Patchbay, server: Stranger, wire: str
) -> None:
    server.reply = 200, EVENTS, [event(wire, "a") * (EAGER - 1) + event(wire, "", end=True)]

    chunks = [str(chunk.text) for chunk in patchbay.get_llm("f").stream("hi")]

    assert chunks.count("a") == EAGER - 1


def call_in_pieces(wire: str, pieces: list[str]) -> Iterator[bytes]:
    """A stream that calls a tool once, with its arguments in pieces."""
    if wire == "openai":
        for at, piece in enumerate(pieces):
            function = {"arguments": piece, **({} if at else {"name": "f"})}
            call = {"index": 0, "function": function, **({} if at else {"id": "1", "type": "function"})}
            choice = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}
            yield b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"
        return
    item = {"type": "function_call", "name": "f", "call_id": "1", "arguments": ""}
    added = {"type": "response.output_item.added", "item": item, "output_index": 0}
    yield b"data: " + json.dumps(added).encode() + b"\n\n"
    for piece in pieces:
        told = {"type": "response.function_call_arguments.delta", "delta": piece, "output_index": 0}
        yield b"data: " + json.dumps(told).encode() + b"\n\n"


@pytest.mark.parametrize("wire", ["openai", "responses"], indirect=True)
@pytest.mark.parametrize("characters", [100, 100_000])
def test_arguments_come_whole_however_long_they_are(
    patchbay: Patchbay, server: Stranger, wire: str, stream: Driver, characters: int
) -> None:
    arguments = json.dumps({"text": "x" * characters})
    pieces = [arguments[at : at + 50_000] for at in range(0, len(arguments), 50_000)]
    server.reply = 200, EVENTS, [*call_in_pieces(wire, pieces), event(wire, "", end=True)]

    def answered() -> None:
        (call,) = stream(patchbay.get_llm("f"), "hi").tool_calls
        assert call["args"] == {"text": "x" * characters}

    assert stays_within(1, answered)


@pytest.mark.parametrize("wire", ["openai"], indirect=True)
@pytest.mark.parametrize(
    "begun", ['{"text": "', '{"rows": [[1, tru', '{"text": "a\\u00', '{"text": "a", "mo', '{"text": "a",']
)
def test_long_arguments_that_were_cut_short_accuse_no_provider(
    patchbay: Patchbay, server: Stranger, stream: Driver, begun: str
) -> None:
    arguments = f'{{"before": "{"x" * 20_000}", {begun[1:]}'
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}
    last = f"data: {json.dumps(end)}\n\ndata: [DONE]\n\n".encode()
    server.reply = 200, EVENTS, [*call_in_pieces("openai", [arguments]), last]

    with pytest.raises(LLMError) as caught:
        stream(patchbay.get_llm("f"), "hi")

    assert [attempt.category for attempt in caught.value.attempts] == ["truncated"]


@pytest.mark.parametrize("wire", ["openai", "responses"], indirect=True)
@pytest.mark.parametrize("garbage", ["x", "[[", '{"a":'])
def test_long_arguments_that_are_no_json_are_no_answer(
    patchbay: Patchbay, server: Stranger, wire: str, stream: Driver, garbage: str
) -> None:
    pieces = [garbage * 100] * 500
    server.reply = 200, EVENTS, [*call_in_pieces(wire, pieces), event(wire, "", end=True)]

    def failing() -> None:
        with pytest.raises(LLMError) as caught:
            stream(patchbay.get_llm("f"), "hi")
        assert [attempt.category for attempt in caught.value.attempts] == ["unreadable"]

    assert stays_within(1, failing)


def test_what_is_packed_is_unpacked_in_pieces() -> None:
    pieces = list(BodyDecompressor(1000).decompress(gzip.compress(b"x" * 100_000)))

    assert b"".join(pieces) == b"x" * 100_000
    assert max(map(len, pieces)) == 1000


def test_an_error_cut_in_the_middle_of_a_key_reveals_no_part_of_it() -> None:
    key = "sk-0123456789abcdef"
    body = b"bad key " + key.encode()[:-3]

    assert KeyRedaction(key).redact_body(body, is_cut=True) == b"bad key "
    assert KeyRedaction(key).redact_body(body) == body


def test_a_long_answer_is_within_the_limits() -> None:
    tokens, lines_of_an_event, bytes_of_an_event = 128_000, 3, 300

    assert HOUSE.most_lines > 2 * tokens * lines_of_an_event
    assert HOUSE.most_stream_bytes > 2 * tokens * bytes_of_an_event
    assert HOUSE.most_bytes > 20_000_000, "a picture"
    assert HOUSE.most_bytes > LONGEST_ERROR
