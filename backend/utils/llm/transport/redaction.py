"""Takes a key out of what a provider says, which may repeat it, as it is or escaped; and what would act is written out."""

from __future__ import annotations

import json
import re
from typing import Any

from .. import foreign
from ..foreign import visible

MARK = "***"
DEEPEST = 4
"""So often may be escaped what was escaped before, as in JSON inside of JSON."""
MOST_VALUES = 5000
"""In an error, counted by its separators: as many are read in a moment. Also the most escapes."""
MOST_READ = 2000
"""Characters. What is longer is no label, and would take long to look through."""
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)


class Redaction:
    """Knows what to take out, and does not show it.

    Args:
        key: None takes out nothing.
    """

    def __init__(self, key: str | None) -> None:
        self._key = key or None
        self._is_over = False

    def forget(self) -> None:
        """Keep the key no longer. From now on nothing is left of anything: nobody can tell whether it holds it."""
        self._key, self._is_over = None, True

    def of_body(self, body: bytes, *, is_cut: bool = False) -> bytes:
        """``body`` on one line, without the key; empty if nobody can tell whether it holds it: escapes, and no JSON.

        Empty, too, if it has so many values that whoever reads it would be held up.

        Args:
            body: What an error says.
            is_cut: Whether it may end in the middle of a key.
        """
        if self._is_over or len(body) - len(body.translate(None, b",:[{\\")) > MOST_VALUES:
            return b""
        try:
            return json.dumps(self._of_json(json.loads(body))).encode()
        except (ValueError, RecursionError):
            return visible(self._of_page(body, is_cut=is_cut).decode(errors="replace")).encode()

    def _of_page(self, body: bytes, *, is_cut: bool) -> bytes:
        if self._key is None:
            return body
        if b"\\" in body or b"\0" in body:
            return b""
        key = self._key.encode()
        plain = body.replace(key, MARK.encode())
        begun = (size for size in range(len(key) - 1, 0, -1) if is_cut and plain.endswith(key[:size]))
        return plain[: len(plain) - next(begun, 0)]

    def label(self, text: str) -> str:
        """What the provider calls something, without the key and as short as a `foreign.label`; its length, if that is absurd."""
        if self._is_plain(text):
            return text
        if len(text) > MOST_READ:
            return f"({len(text):,} characters)"
        return foreign.label(self.of_text(text))

    def labels(self, told: Any, known: str) -> Any:
        """``told`` with each text in it as its `label`.

        Args:
            told: JSON.
            known: A name of ours, which is left as it is.
        """
        return told if self._is_plain(told) else self._labels(told, known)

    def _labels(self, told: Any, known: str) -> Any:
        match told:
            case str():
                return told if told == known else self.label(told)
            case dict():
                return {self._labels(name, known): self._labels(one, known) for name, one in told.items()}
            case list() | tuple():
                return [self._labels(one, known) for one in told]
            case _:
                return told

    def _is_plain(self, told: Any) -> bool:
        """Whether there is nothing to do in all of ``told``, as nearly always."""
        left, key = [told], self._key
        while left:
            one = left.pop()
            if isinstance(one, str):
                is_label = len(one) <= foreign.LONGEST and "\\" not in one and one.isprintable()
                if not is_label or (key is not None and key in one):
                    return False
            elif isinstance(one, dict):
                left += one
                left += one.values()
            elif isinstance(one, list | tuple):
                left += one
        return not self._is_over

    def of_text(self, text: str) -> str:
        """``text`` without the key; `MARK` if it holds it escaped."""
        if self._is_over:
            return MARK
        if self._key is None:
            return text
        plain = text.replace(self._key, MARK)
        return MARK if self._is_escaped_in(plain) else plain

    def _of_json(self, told: Any) -> Any:
        match told:
            case str():
                return visible(self.of_text(told))
            case list():
                return [self._of_json(one) for one in told]
            case dict():
                return {visible(self.of_text(name)): self._of_json(one) for name, one in told.items()}
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
