"""How much there is in a text that should be JSON, told without building any of it.

A parser builds all members of an object before anybody can say that there are too many: hundreds of megabytes out of one
body. So the signs of JSON that stand outside strings are counted first. It is no parser: of what is not JSON it may say
anything but a fault that would keep valid JSON out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_VALUES: Final = 300_000
"""50,000 segments of a transcript with four fields each are 250,000."""
MOST_KEYS: Final = 16
"""Of one object. No body has more than five."""
MOST_SINGLE: Final = 1_000
"""Values in lists that are not objects. No body has any."""
DEEPEST: Final = 3
"""Objects and lists within each other: a segment, in the list, in a transcript."""

_BLOCK: Final = 64 * 1024
_NESTING: Final = b"{}[]:"
_OTHERS: Final = bytes(set(range(256)) - set(_NESTING))
_OBJECT, _LIST, _COLON = b"{[:"
_LISTED: Final = -1
"""Stands for a list, where an object has the number of its keys."""


def fault_of(body: bytes) -> str | None:
    """What there is too much of in ``body``; None if it may be parsed."""
    shape = _Shape()
    for signs in _outside_strings(body):
        if fault := shape.grow(signs):
            return fault
    return None


class _Shape:
    """What has been seen so far."""

    def __init__(self) -> None:
        self._open = [_LISTED]
        self._commas = self._opened = self._keys = self._listed_objects = 0

    def grow(self, signs: bytes) -> str | None:
        """Follow ``signs``, which may hold anything but strings; the fault, if there is one."""
        self._commas += signs.count(b",")
        self._opened += signs.count(b"{") + signs.count(b"[")
        self._keys += signs.count(b":")
        if self._commas + self._opened > MOST_VALUES:
            return f"has more than {MOST_VALUES} values"
        return self._nest(signs.translate(None, _OTHERS)) or self._mixed()

    def _nest(self, signs: bytes) -> str | None:
        levels = self._open
        for sign in signs:
            if sign == _COLON:
                levels[-1] += 1
                if levels[-1] > MOST_KEYS:
                    return f"has an object of more than {MOST_KEYS} keys"
            elif sign in (_OBJECT, _LIST):
                self._listed_objects += sign == _OBJECT and levels[-1] == _LISTED
                levels.append(0 if sign == _OBJECT else _LISTED)
                if len(levels) > DEEPEST + 1:
                    return f"is nested more than {DEEPEST} deep"
            elif len(levels) > 1:
                levels.pop()
        return None

    def _mixed(self) -> str | None:
        """An object has one comma less than keys, a list one less than values: so the values of all lists are known."""
        listed = self._commas - self._keys + self._opened
        if listed - self._listed_objects > MOST_SINGLE:
            return f"has more than {MOST_SINGLE} values in lists that are not objects"
        return None


def _outside_strings(body: bytes) -> Iterator[bytes]:
    """``body`` without its strings, block by block. After the escapes are out, every quote begins or ends a string."""
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"") if b"\\" in body else body
    is_inside = False
    for start in range(0, len(plain), _BLOCK):
        parts = plain[start : start + _BLOCK].split(b'"')
        yield b"".join(parts[is_inside::2])
        is_inside ^= len(parts) % 2 == 0
