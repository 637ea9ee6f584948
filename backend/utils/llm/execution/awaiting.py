"""What the application hands in may be synchronous or asynchronous: a test of answers, a selector."""

from __future__ import annotations

from inspect import isawaitable
from typing import Any


def at_once(said: Any, complaint: str) -> Any:
    """``said``, where nothing can be awaited.

    Raises:
        TypeError: With ``complaint``, if it is a promise.
    """
    if isawaitable(said):
        getattr(said, "close", bool)()  # a coroutine that is never awaited complains
        raise TypeError(complaint)
    return said
