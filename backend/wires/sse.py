"""JSON and server-sent events, as bytes."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import PydanticSerializationError, to_json


def json_bytes(value: Any) -> bytes:
    """``value`` as JSON in UTF-8. A lone surrogate, which UTF-8 cannot express, is escaped."""
    try:
        return to_json(value)
    except PydanticSerializationError:
        return json.dumps(value, separators=(",", ":")).encode()


def event(data: str, name: str | None = None) -> bytes:
    """One server-sent event in bytes. Each line of ``data`` becomes a ``data:`` line; ``name`` must be a single line."""
    lines = data.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\ndata: ")
    return _framed(lines.encode(errors="backslashreplace"), name)


def json_event(value: Any, name: str | None = None) -> bytes:
    """A server-sent event, in bytes, whose data is ``value`` as JSON."""
    return _framed(json_bytes(value), name)


def encoded_event(json_text: bytes, name: str | None = None) -> bytes:
    """A server-sent event, in bytes, whose data is JSON that is already encoded. It must be a single line."""
    return _framed(json_text, name)


def _framed(lines: bytes, name: str | None) -> bytes:
    if name is None:
        return b"data: " + lines + b"\n\n"
    return b"event: " + name.encode() + b"\ndata: " + lines + b"\n\n"
