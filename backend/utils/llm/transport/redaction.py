"""Removes a key from a provider's texts, which may quote the key, raw or escaped.

Control characters are escaped.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import foreign
from ..foreign import escape_control_characters

if TYPE_CHECKING:
    from collections.abc import Callable

MARK = "***"
DEEPEST = 4
"""The most levels of nested escaping that are searched, as of JSON within JSON."""
MOST_VALUES = 5000
"""The most values of an error's JSON, counted by separators, so that reading it is quick. Also the most escapes."""
MOST_READ = 2000
"""The longest text that is searched for the key, in characters; a longer text is no label."""
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)


@dataclass(frozen=True, slots=True)
class KeyRedaction:
    """Removes one API key from texts. Its repr does not show the key.

    Attributes:
        key: The key to remove; None or empty if there is none.
        is_over: Whether the key is forgotten, because its ticket was closed. Then every text is removed,
            because it may contain the key.
    """

    key: str | None = field(repr=False)
    is_over: bool = False

    def redact_body(self, body: bytes, *, is_cut: bool = False) -> bytes:
        """Return the body of an error response on one line, with the key removed.

        Empty if it might still contain the key, for example in escaped form outside of JSON, or if it has so
        many values that parsing it would block the event loop. ``is_cut``: whether the body was cut off, so that
        it may end in the middle of a key.
        """
        if self.is_over or len(body) - len(body.translate(None, b",:[{\\")) > MOST_VALUES:
            return b""
        try:
            return json.dumps(_mapped(json.loads(body), self._line)).encode()
        except (ValueError, RecursionError):
            return escape_control_characters(
                self._of_page(body, is_cut=is_cut).decode(errors="replace")
            ).encode()

    def _of_page(self, body: bytes, *, is_cut: bool) -> bytes:
        if not self.key:
            return body
        if b"\\" in body or b"\0" in body:
            return b""
        key = self.key.encode()
        plain = body.replace(key, MARK.encode())
        begun = (size for size in range(len(key) - 1, 0, -1) if is_cut and plain.endswith(key[:size]))
        return plain[: len(plain) - next(begun, 0)]

    def redact_text(self, text: str) -> str:
        """Return ``text`` with the key replaced by `MARK`; only `MARK` if it contains the key in escaped form."""
        if self.is_over:
            return MARK
        if not self.key:
            return text
        plain = text.replace(self.key, MARK)
        return MARK if _is_escaped_in(plain, self.key) else plain

    def _line(self, text: str) -> str:
        return escape_control_characters(self.redact_text(text))

    def redact_labels(self, value: Any, known: str = "") -> Any:
        """Return ``value``, names and other metadata of a provider, with the key removed and long texts shortened.

        A text that is too long to be searched for the key is replaced by its length.

        Args:
            value: The metadata, as parsed JSON.
            known: A text to leave unchanged: our own name for the model.
        """
        key, left = self.key, [value]
        while left:  # as a rule there is nothing to do in all of it
            item = left.pop()
            if isinstance(item, str):
                is_label = len(item) <= foreign.LONGEST and "\\" not in item and item.isprintable()
                if not is_label or (key and key in item):
                    break
            elif isinstance(item, dict):
                left += item
                left += item.values()
            elif isinstance(item, list | tuple):
                left += item
        else:
            if not self.is_over:
                return value
        return _mapped(value, lambda text: text if text == known else self._label(text))

    def _label(self, text: str) -> str:
        if len(text) > MOST_READ and not self.is_over:
            return f"({len(text):,} characters)"
        return foreign.sanitize_text(self.redact_text(text))


NO_KEY = KeyRedaction(None)
OVER = KeyRedaction(None, is_over=True)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """``value``, which is JSON, with each text in it changed."""
    match value:
        case str():
            return change(value)
        case dict():
            return {_mapped(name, change): _mapped(item, change) for name, item in value.items()}
        case list() | tuple():
            return [_mapped(item, change) for item in value]
        case _:
            return value


def _is_escaped_in(text: str, key: str) -> bool:
    for _ in range(DEEPEST):
        read = _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else found[2], text)
        if read == text:
            return False
        if key in read:
            return True
        text = read
    return True
