"""Takes a key out of what a provider says of a failure: some repeat it, as it is or escaped."""

from __future__ import annotations

import json
import re
from typing import Any

MARK = "***"
DEEPEST = 4
"""So often may be escaped what was escaped before, as in JSON inside of JSON."""
MOST_VALUES = 5000
"""In an error, counted by its separators: as many are read in a moment. Also the most escapes."""
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)


class Redaction:
    """Knows what to take out, and does not show it.

    Args:
        key: None takes out nothing.
    """

    def __init__(self, key: str | None) -> None:
        self._key = key

    def of_body(self, body: bytes, *, is_cut: bool = False) -> bytes:
        """``body`` without the key; empty if nobody can tell whether it holds it: escapes, and no JSON.

        Empty, too, if it has so many values that whoever reads it would be held up.

        Args:
            body: What an error says.
            is_cut: Whether it may end in the middle of a key.
        """
        if len(body) - len(body.translate(None, b",:[{\\")) > MOST_VALUES:
            return b""
        if self._key is None:
            return body
        try:
            return json.dumps(self._of_json(json.loads(body))).encode()
        except (ValueError, RecursionError):
            return b"" if b"\\" in body or b"\0" in body else self._of_bytes(body, is_cut=is_cut)

    def _of_bytes(self, body: bytes, *, is_cut: bool) -> bytes:
        key = (self._key or "").encode()
        plain = body.replace(key, MARK.encode())
        begun = (size for size in range(len(key) - 1, 0, -1) if is_cut and plain.endswith(key[:size]))
        return plain[: len(plain) - next(begun, 0)]

    def of_text(self, text: str) -> str:
        """``text`` without the key; `MARK` if it holds it escaped."""
        if self._key is None:
            return text
        plain = text.replace(self._key, MARK)
        return MARK if self._is_escaped_in(plain) else plain

    def _of_json(self, told: Any) -> Any:
        match told:
            case str():
                return self.of_text(told)
            case list():
                return [self._of_json(one) for one in told]
            case dict():
                return {self.of_text(name): self._of_json(one) for name, one in told.items()}
            case _:
                return told

    def _is_escaped_in(self, text: str) -> bool:
        for _ in range(DEEPEST):
            read = _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else found[2], text)
            if read == text:
                return False
            if self._key in read:  # type: ignore[operator]
                return True
            text = read
        return True
