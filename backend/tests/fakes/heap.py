"""What Python still holds: a search of everything that the garbage collector knows, and of what that refers to."""

from __future__ import annotations

import gc
from typing import Any

_TEXTS = frozenset({str, bytes, bytearray})
_UNKNOWN = frozenset({tuple, dict})
"""What the collector does not know if it refers to texts alone."""


def holders_of(mark: str) -> list[str]:
    """What refers to a text with ``mark`` in it, other than ``mark`` itself: the types of all such objects."""
    gc.collect()
    seen: set[int] = set()
    found: list[str] = []
    wave: list[Any] = gc.get_objects()
    while wave:
        held = gc.get_referents(*wave)
        if _is_told(mark, held):
            found += [type(one).__name__ for one in wave if _is_told(mark, gc.get_referents(one))]
        wave = [
            one for one in held if type(one) in _UNKNOWN and not gc.is_tracked(one) and id(one) not in seen
        ]
        seen.update(map(id, wave))
    return found


def _is_told(mark: str, held: list[Any]) -> bool:
    texts = {id(one): one for one in held if type(one) in _TEXTS}.values()
    in_bytes = mark.encode()
    return any((mark in one and one != mark) if type(one) is str else in_bytes in one for one in texts)
