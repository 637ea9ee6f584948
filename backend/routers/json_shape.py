"""Counts the values and nesting levels of JSON text without parsing it, and splits its long list.

A parser builds the whole value before its size is known: one megabyte of text can become a hundred
megabytes of objects. So this module first counts the punctuation outside strings. It is not a parser:
for invalid JSON its result may be wrong, but it never refuses valid JSON within the limits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .bodies import SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_VALUES: Final = 300_000
"""The most values: 50,000 segments of a transcript with four fields each are 250,000."""
MOST_KEYS: Final = 16
"""The most keys of one object. No valid body has more than five."""
DEEPEST: Final = 3
"""The deepest nesting: a segment, in the list, in a transcript."""

_BLOCK: Final = 64 * 1024
_BLANKS: Final = b" \t\r\n"
_NESTING: Final = b"{}[]:"
_OTHERS: Final = bytes(set(range(256)) - set(_NESTING))
_OBJECT, _LIST, _COLON = b"{[:"


class JsonShapeError(ValueError):
    """A JSON body exceeds a limit, such as the number of values. The message names the limit."""


class JsonShape:
    """Checks size and nesting of a JSON body without parsing it, and finds the one list that it may contain.

    Raises:
        JsonShapeError: The body exceeds a limit.
    """

    def __init__(self, body: bytes) -> None:
        self._keys: list[int] = []
        """Of each object and list that is open."""
        self._values = self._lists = 0
        self._begin: int | None = None
        self._end: int | None = None
        self._items: list[int] = []
        """Where some of them begin, one for each block."""
        for start, signs in _outside_strings(body):
            self._count(signs)
            self._nest(signs.translate(None, _OTHERS))
            self._note(start, signs)
        if len(self.without_long_list(body)) > SMALL:
            raise JsonShapeError(f"has more than {SMALL} bytes beside a list")

    def without_long_list(self, body: bytes) -> bytes:
        """Return ``body`` with its list replaced by an empty list; unchanged if it has no list."""
        return body if self._begin is None else body[: self._begin] + body[self._end or len(body) :]

    def split_long_list(self, body: bytes) -> Iterator[bytes]:
        """Split the list of ``body`` into several shorter JSON lists.

        All of them are valid JSON if, and only if, the whole list is.
        """
        begin = self._begin
        for item in self._items:
            if piece := body[begin:item].strip(_BLANKS):
                yield _closed(piece)
            begin = item
        yield b"[" + body[begin : self._end] + b"]"

    def _count(self, signs: bytes) -> None:
        self._values += signs.count(b",") + signs.count(b"{") + signs.count(b"[")
        self._lists += signs.count(b"[")
        if self._values > MOST_VALUES:
            raise JsonShapeError(f"has more than {MOST_VALUES} values")
        if self._lists > 1:
            raise JsonShapeError("has more than one list")

    def _nest(self, signs: bytes) -> None:
        keys = self._keys
        for sign in signs:
            if sign == _COLON and keys:
                keys[-1] += 1
                if keys[-1] > MOST_KEYS:
                    raise JsonShapeError(f"has an object of more than {MOST_KEYS} keys")
            elif sign in (_OBJECT, _LIST):
                keys.append(0)
                if len(keys) > DEEPEST:
                    raise JsonShapeError(f"is nested more than {DEEPEST} deep")
            elif keys:
                keys.pop()

    def _note(self, start: int, signs: bytes) -> None:
        """Record where the list begins and ends, and where the last item of a block begins."""
        if self._begin is None and (found := signs.find(b"[")) >= 0:
            self._begin = start + found + 1
        if self._begin is None or self._end is not None:
            return
        inside = max(self._begin - start, 0)
        if (found := signs.find(b"]", inside)) >= 0:
            self._end = start + found
        elif (found := signs.rfind(b"{", inside)) >= 0:
            self._items.append(start + found)


def _closed(piece: bytes) -> bytes:
    """``piece`` as a list. If it does not end at a comma, it stays unclosed, and so is invalid JSON."""
    return b"[" + (piece[:-1] + b"]" if piece.endswith(b",") else piece)


def _outside_strings(body: bytes) -> Iterator[tuple[int, bytes]]:
    """``body`` block by block, with strings blanked. Once escapes are removed, every quotation mark begins or ends a string."""
    plain = body.replace(rb"\\", b"  ").replace(rb"\"", b"  ") if b"\\" in body else body
    is_inside = False
    for start in range(0, len(plain), _BLOCK):
        parts = plain[start : start + _BLOCK].split(b'"')
        strings = slice(not is_inside, None, 2)
        parts[strings] = [b" " * len(string) for string in parts[strings]]
        yield start, b" ".join(parts)
        is_inside ^= len(parts) % 2 == 0
