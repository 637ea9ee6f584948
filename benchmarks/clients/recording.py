"""What clients send, as fixtures: without keys and what tells of a person or a machine, and with long texts cut."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from pathlib import Path

    from backend.utils.llm.testing import RecordedRequest

    from .packages import Place
    from .programs import Client

_LONGEST: Final = 60
"""Characters of a text that are kept: prompts and descriptions are other people's, and say nothing of the wire."""
_SECRET: Final = frozenset({"authorization", "x-api-key"})
_IDS: Final = (
    (re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "0" * 8 + "-0000-7000-8000-" + "0" * 12),
    (re.compile(r"\b[0-9a-f]{64}\b"), "0" * 64),
    (re.compile(r"\bses_[0-9A-Za-z]{20,}\b"), "ses_" + "0" * 26),
    (re.compile(r"\b1[0-9]{12}\b"), "1795968000000"),
    (re.compile(r"\b(?:127\.0\.0\.1|localhost):\d+\b"), "patchbay.test"),
)


def write(client: Client, place: Place, requests: Sequence[RecordedRequest], day: date, file: Path) -> None:
    """Write the ``requests`` of a tool round into ``file``."""
    source = {
        "client": client.name,
        "packages": list(client.packages) or ["requirements-dev.txt"],
        "recorded": f"{day.isoformat()}, one tool round against the loopback provider",
    }
    kept = [_kept(request, place) for request in requests]
    text = json.dumps({**source, "requests": kept}, indent=1, ensure_ascii=False)
    file.write_text(text + "\n")


def _kept(request: RecordedRequest, place: Place) -> dict[str, Any]:
    headers = {name: "***" if name in _SECRET else value for name, value in request.headers.items()}
    sent = {
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "headers": headers,
        "body": request.body,
    }
    return dict(_cleaned(sent, str(place.state)))


def _cleaned(value: Any, folder: str) -> Any:
    if isinstance(value, dict):
        return {name: _cleaned(item, folder) for name, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item, folder) for item in value]
    return _text(value, folder) if isinstance(value, str) else value


def _text(text: str, folder: str) -> str:
    for pattern, stand_in in _IDS:
        text = pattern.sub(stand_in, text)
    text = text.replace(folder, "/home/ann")
    is_json = text.startswith(("{", "["))
    return text if is_json or len(text) <= 4 * _LONGEST else f"{text[:_LONGEST]}…"
