"""Encodes JSON and server-sent events as bytes."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import PydanticSerializationError, to_json


def encode_json(value: Any) -> bytes:
    """Encode ``value`` as JSON in UTF-8. Lone surrogates, which UTF-8 cannot represent, are escaped."""
    try:
        return to_json(value)
    except PydanticSerializationError:
        return json.dumps(value, separators=(",", ":")).encode()


def encode_event(data: str, name: str | None = None) -> bytes:
    """Encode one server-sent event. Each line of ``data`` becomes a ``data:`` line. ``name`` must be a single line."""
    lines = data.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\ndata: ")
    return _framed(lines.encode(errors="backslashreplace"), name)


def encode_json_event(value: Any, name: str | None = None) -> bytes:
    """Encode one server-sent event whose data is ``value`` as JSON."""
    return _framed(encode_json(value), name)


def encode_raw_json_event(json_text: bytes, name: str | None = None) -> bytes:
    """Encode one server-sent event whose data is the JSON in ``json_text``, which must be a single line."""
    return _framed(json_text, name)


def _framed(lines: bytes, name: str | None) -> bytes:
    if name is None:
        return b"data: " + lines + b"\n\n"
    return b"event: " + name.encode() + b"\ndata: " + lines + b"\n\n"
