"""What real clients sent, as `python -m benchmarks.clients --record` kept it: headers, and bodies with their long texts cut."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOLDER = Path(__file__).parent

CLIENTS = tuple(sorted(file.stem for file in _FOLDER.glob("*.json")))
"""Their names; each is a file."""


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """One request. Its ``content-length`` is of the body before texts were cut."""

    client: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


def requests_of(client: str) -> tuple[ClientRequest, ...]:
    """The requests of a tool round, in order: the question, then the tool's result."""
    kept = json.loads((_FOLDER / f"{client}.json").read_text(encoding="utf-8"))
    return tuple(ClientRequest(client, **request) for request in kept["requests"])
