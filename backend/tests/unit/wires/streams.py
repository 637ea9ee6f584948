"""Streams of events as they are written, taken apart again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_core.messages import HumanMessage

from backend.wires.request import CompletionRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backend.wires.answer import Event
    from backend.wires.wire import EventWriter

ID = "0193a3c4-7d1e-7a00-8000-000000000001"
CREATED = 0x0193A3C47D1E // 1000
OTHER_ID = "0193a3c4-7d1e-7a00-8000-000000000002"


def asked(**more: Any) -> CompletionRequest:
    """A request with an id that is always the same."""
    return CompletionRequest(**{"model": "chat", "messages": [HumanMessage("Hello?")], "ids": [ID]} | more)


def read_events(body: bytes) -> list[tuple[str | None, Any]]:
    """Each event's name and data; ``[DONE]`` as a text."""
    found = []
    for block in body.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        data = fields["data"]
        found.append((fields.get("event"), data if data == "[DONE]" else json.loads(data)))
    return found


def written(writer: EventWriter, events: Iterable[Event]) -> list[tuple[str | None, Any]]:
    """What ``writer`` makes of ``events``."""
    return read_events(b"".join(map(writer.encode, events)))
