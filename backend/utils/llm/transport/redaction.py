"""Takes a key out of what a provider says, which may repeat it, as it is or escaped; and what would act is written out."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import foreign
from ..foreign import visible

if TYPE_CHECKING:
    from collections.abc import Callable

MARK = "***"
DEEPEST = 4
"""So often may be escaped what was escaped before, as in JSON inside of JSON."""
MOST_VALUES = 5000
"""In an error, counted by its separators: as many are read in a moment. Also the most escapes."""
MOST_READ = 2000
"""Characters. What is longer is no label, and would take long to look through."""
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Redaction:
    """Knows what to take out, and does not show it.

    Attributes:
        key: None or nothing takes out nothing.
        is_over: Whether the key is not known any more: then nothing is let through, for it may be in anything.
    """

    key: str | None = field(repr=False)
    is_over: bool = False

    def of_body(self, body: bytes, *, is_cut: bool = False) -> bytes:
        """``body`` on one line, without the key; empty if it may hold it all the same: escapes, and no JSON.

        Empty, too, if it has so many values that whoever reads it would be held up.

        Args:
            body: What an error says.
            is_cut: Whether it may end in the middle of a key.
        """
        if self.is_over or len(body) - len(body.translate(None, b",:[{\\")) > MOST_VALUES:
            return b""
        try:
            return json.dumps(_mapped(json.loads(body), self._line)).encode()
        except (ValueError, RecursionError):
            return visible(self._of_page(body, is_cut=is_cut).decode(errors="replace")).encode()

    def _of_page(self, body: bytes, *, is_cut: bool) -> bytes:
        if not self.key:
            return body
        if b"\\" in body or b"\0" in body:
            return b""
        key = self.key.encode()
        plain = body.replace(key, MARK.encode())
        begun = (size for size in range(len(key) - 1, 0, -1) if is_cut and plain.endswith(key[:size]))
        return plain[: len(plain) - next(begun, 0)]

    def of_text(self, text: str) -> str:
        """``text`` without the key; `MARK` if it holds it escaped."""
        if self.is_over:
            return MARK
        if not self.key:
            return text
        plain = text.replace(self.key, MARK)
        return MARK if _is_escaped_in(plain, self.key) else plain

    def _line(self, text: str) -> str:
        return visible(self.of_text(text))

    def labels(self, value: Any, known: str = "") -> Any:
        """``value`` with each text in it without the key and as short as a `foreign.label`; its length, if that is absurd.

        Args:
            value: JSON: what the provider calls things by.
            known: A name of ours, which is left as it is.
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
        return foreign.label(self.of_text(text))


NO_KEY = Redaction(None)
OVER = Redaction(None, is_over=True)


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
