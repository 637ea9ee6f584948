"""Server-sent events, as bytes."""

from __future__ import annotations

import json
from typing import Any, Final

_to_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def event(data: str, name: str | None = None) -> bytes:
    """One event; each line of ``data`` in a field of its own. ``name`` is one line."""
    head = f"event: {name}\n" if name else ""
    lines = data.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\ndata: ")
    return f"{head}data: {lines}\n\n".encode(errors="backslashreplace")


def json_event(value: Any, name: str | None = None) -> bytes:
    """One event that carries ``value`` as JSON. Half a surrogate pair in it is escaped, as JSON does."""
    return event(_to_json(value), name)
