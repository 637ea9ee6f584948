"""What Python still holds: a search of everything that the garbage collector knows, and of what that refers to."""

from __future__ import annotations

import gc
from asyncio import AbstractEventLoop
from collections import deque
from threading import Thread
from types import FrameType, FunctionType, ModuleType, TracebackType
from typing import Any

_TEXTS = frozenset({str, bytes, bytearray})
_SHOWN = 40
_UNKNOWN = frozenset({tuple, dict})
"""What the collector does not know if it refers to texts alone."""


def holders_of(mark: str) -> list[str]:
    """What refers to a text with ``mark`` in it, other than ``mark`` itself: the type of each such object, and what stands before it.

    Modules are not looked into, their dictionaries are: until Python 3.12 `asyncio`'s C module also tells what lies in its
    list of freed iterators, and to hold one of those frees it again, after which no collection ends.
    """
    gc.unfreeze()  # what is frozen is not told by `get_objects`
    gc.collect()
    seen: set[int] = set()
    found: list[str] = []
    wave: list[Any] = [one for one in gc.get_objects() if not isinstance(one, ModuleType)]
    while wave:
        held = gc.get_referents(*wave)
        if _before(mark, held):
            found += _holders(mark, wave)
        wave = [
            one for one in held if type(one) in _UNKNOWN and not gc.is_tracked(one) and id(one) not in seen
        ]
        seen.update(map(id, wave))
    return found


def _holders(mark: str, wave: list[Any]) -> list[str]:
    before = _before(mark, gc.get_referents(*wave))
    if not before:
        return []
    if len(wave) == 1:
        return [f"{type(wave[0]).__name__}: {before}"]
    half = len(wave) // 2
    return _holders(mark, wave[:half]) + _holders(mark, wave[half:])


def _before(mark: str, held: list[Any]) -> list[str]:
    """The last characters before ``mark`` in each text that has it."""
    in_bytes, found = mark.encode(), []
    for one in {id(one): one for one in held if type(one) in _TEXTS}.values():
        part: Any = mark if type(one) is str else in_bytes
        if part in one and one != mark:
            found.append(repr(one.partition(part)[0][-_SHOWN:]))
    return found


def way_to(mark: str, start: Any, keepers: tuple[type, ...], most: int = 200_000) -> list[str] | None:
    """How somebody who looks into ``start``, and into all that it refers to, gets to a text with ``mark``; None if not.

    Args:
        mark: What is looked for, also in bytes.
        start: Where to begin: an exception's frames and what was at hand in them are looked into too.
        keepers: Not looked into: those whose business it is to hold it.
        most: So many objects are looked at.
    """
    came_from: dict[int, tuple[Any, int]] = {id(start): (start, 0)}
    waiting = deque([start])
    while waiting and len(came_from) < most:
        one = waiting.popleft()
        for held in _held_by(one):
            if id(held) in came_from or isinstance(held, (*_APART, *keepers)):
                continue
            came_from[id(held)] = held, id(one)
            if type(held) in _TEXTS and held is not mark and _before(mark, [held]):
                return _way(came_from, held)
            waiting.append(held)
    return None


_APART = (ModuleType, type, AbstractEventLoop, Thread)


def _held_by(one: Any) -> list[Any]:
    if isinstance(one, FunctionType):  # its globals are a module's
        return [one.__closure__, one.__defaults__, one.__kwdefaults__]
    if isinstance(one, FrameType):
        return [] if "/backend/tests/" in one.f_code.co_filename else [one.f_locals]
    if isinstance(one, TracebackType):
        return [one.tb_frame, one.tb_next]
    if isinstance(one, BaseException):
        return [one.__traceback__, one.__cause__, one.__context__, *gc.get_referents(one)]
    return gc.get_referents(one)


def _way(came_from: dict[int, tuple[Any, int]], end: Any) -> list[str]:
    way, at = [], id(end)
    while at:
        one, at = came_from[at]
        way.append(one.f_code.co_qualname if isinstance(one, FrameType) else type(one).__name__)
    return way[::-1]
