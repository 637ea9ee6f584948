"""Server-sent events, as bytes."""

from __future__ import annotations

import json
from typing import Any, Final

_as_it_is: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_escaped: Final = json.JSONEncoder(separators=(",", ":")).encode


def json_bytes(value: Any) -> bytes:
    """``value`` as JSON. Half of a surrogate pair, as models write it at the end of a piece, is escaped."""
    try:
        return _as_it_is(value).encode()
    except UnicodeEncodeError:
        return _escaped(value).encode()


def data_event(value: Any) -> bytes:
    """An event that has only data."""
    return b"data: " + json_bytes(value) + b"\n\n"


def named_event(name: str, value: Any) -> bytes:
    """An event with its name."""
    return b"event: " + name.encode() + b"\ndata: " + json_bytes(value) + b"\n\n"
