"""What the benchmarks' provider answers, whole and as streams. The workers check what their peers make of it.

Only the standard library: this is read in every environment.
"""

from __future__ import annotations

import json
from typing import Any

OPENAI_MODEL = "gpt-4.1-mini"
GEMINI_MODEL = "gemini-3.5-flash"
ANTHROPIC_MODEL = "claude-haiku-4-5"
CHUNKS = 50
"""Of a stream, that have text."""

TEXT = " ".join(f"Sentence {number} says what it says, and no more." for number in range(16))
"""About three quarters of a kilobyte: with what stands around it an answer has a kilobyte."""
PIECES = [f"word{number} " for number in range(CHUNKS)]
STREAMED = "".join(PIECES)
FIELDS = {"title": "Budget", "overview": "They agree on a budget for the year.", "score": 7, "done": True}
TOOL, ARGUMENTS = "get_weather", {"city": "Paris"}
_USAGE = {"prompt_tokens": 200, "completion_tokens": 160, "total_tokens": 360}
_ANTHROPIC_USAGE = {"input_tokens": 200, "output_tokens": 160}
_GEMINI_USAGE = {"promptTokenCount": 200, "candidatesTokenCount": 160, "totalTokenCount": 360}


def of_http(body: bytes, kind: str = "application/json") -> bytes:
    """A whole answer, ready to be sent."""
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def of_stream(events: list[bytes]) -> list[bytes]:
    """An answer in parts, one for each event: the first has the head, the last the end."""
    parts = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
    parts[0] = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + parts[0]
    )
    parts[-1] += b"0\r\n\r\n"
    return parts


def openai_answers() -> dict[str, bytes]:
    """Of Chat Completions, by what the request asks for."""
    call = {"name": TOOL, "arguments": json.dumps(ARGUMENTS)}
    tool_calls = [{"id": "call_1", "type": "function", "function": call}]
    messages: dict[str, tuple[dict[str, Any], str]] = {
        "plain": ({"role": "assistant", "content": TEXT}, "stop"),
        "structured": ({"role": "assistant", "content": json.dumps(FIELDS)}, "stop"),
        "tools": ({"role": "assistant", "content": None, "tool_calls": tool_calls}, "tool_calls"),
    }
    return {
        kind: of_http(_json(_completion({"message": message, "finish_reason": reason}, usage=_USAGE)))
        for kind, (message, reason) in messages.items()
    }


def openai_stream() -> list[bytes]:
    """53 events: who speaks, the chunks, why it ends, and the usage."""
    deltas: list[tuple[dict[str, str], str | None]] = [
        ({"role": "assistant", "content": ""}, None),
        *(({"content": piece}, None) for piece in PIECES),
        ({}, "stop"),
    ]
    chunks = [
        _completion({"delta": delta, "finish_reason": reason}, kind="chat.completion.chunk")
        for delta, reason in deltas
    ]
    last = {**_completion(None, kind="chat.completion.chunk"), "usage": _USAGE}
    return of_stream([*(_event(chunk) for chunk in chunks), _event(last), b"data: [DONE]\n\n"])


def gemini_answers() -> dict[str, bytes]:
    """Of ``:generateContent``, by what the request asks for."""
    parts: dict[str, dict[str, Any]] = {
        "plain": {"text": TEXT},
        "structured": {"text": json.dumps(FIELDS)},
        "tools": {"functionCall": {"name": TOOL, "args": ARGUMENTS}},
    }
    return {kind: of_http(_json(_content(part, "STOP"))) for kind, part in parts.items()}


def gemini_stream() -> list[bytes]:
    """The chunks, the last of which says why it ends."""
    reasons = [*([None] * (CHUNKS - 1)), "STOP"]
    return of_stream(
        [
            _event(_content({"text": piece}, reason), end=b"\r\n\r\n")
            for piece, reason in zip(PIECES, reasons, strict=True)
        ]
    )


def anthropic_answers() -> dict[str, bytes]:
    """Of the Messages API, by what the request asks for."""
    blocks: dict[str, tuple[dict[str, Any], str]] = {
        "plain": ({"type": "text", "text": TEXT}, "end_turn"),
        "structured": ({"type": "text", "text": json.dumps(FIELDS)}, "end_turn"),
        "tools": ({"type": "tool_use", "id": "toolu_1", "name": TOOL, "input": ARGUMENTS}, "tool_use"),
    }
    return {
        kind: of_http(_json({**_message(), "content": [block], "stop_reason": reason}))
        for kind, (block, reason) in blocks.items()
    }


def anthropic_stream() -> list[bytes]:
    """55 events: who speaks, a block, its pieces and its end, why it ends and what was used, and the end."""
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": _message()},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
            for piece in PIECES
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": _ANTHROPIC_USAGE,
        },
        {"type": "message_stop"},
    ]
    return of_stream([f"event: {event['type']}\n".encode() + _event(event) for event in events])


def _message() -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": ANTHROPIC_MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _ANTHROPIC_USAGE,
    }


def _completion(
    choice: dict[str, Any] | None, *, kind: str = "chat.completion", **more: object
) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": kind,
        "created": 1_780_000_000,
        "model": OPENAI_MODEL,
        "choices": [{"index": 0, **choice}] if choice is not None else [],
        **more,
    }


def _content(part: dict[str, Any], reason: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [part], "role": "model"}, "index": 0}
    if reason is not None:
        candidate["finishReason"] = reason
    return {
        "candidates": [candidate],
        "usageMetadata": _GEMINI_USAGE,
        "modelVersion": GEMINI_MODEL,
        "responseId": "r1",
    }


def _event(value: dict[str, Any], end: bytes = b"\n\n") -> bytes:
    return b"data: " + _json(value) + end


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
