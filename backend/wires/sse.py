"""JSON and server-sent events, as bytes."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import PydanticSerializationError, to_json


def json_bytes(value: Any) -> bytes:
    """``value`` as JSON. Half a surrogate pair in it is escaped, as JSON does."""
    try:
        return to_json(value)
    except PydanticSerializationError:
        return json.dumps(value, separators=(",", ":")).encode()


def event(data: str, name: str | None = None) -> bytes:
    """One event; each line of ``data`` in a field of its own. ``name`` is one line."""
    lines = data.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\ndata: ")
    return _framed(lines.encode(errors="backslashreplace"), name)


def json_event(value: Any, name: str | None = None) -> bytes:
    """One event that carries ``value`` as JSON."""
    return _framed(json_bytes(value), name)


def encoded_event(json_text: bytes, name: str | None = None) -> bytes:
    """One event that carries JSON that is encoded already."""
    return _framed(json_text, name)


def _framed(lines: bytes, name: str | None) -> bytes:
    if name is None:
        return b"data: " + lines + b"\n\n"
    return b"event: " + name.encode() + b"\ndata: " + lines + b"\n\n"
