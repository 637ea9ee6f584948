"""Hears of whatever Python opens: files, sockets, names that are looked up."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPENING = frozenset(
    {"open", "os.listdir", "os.scandir", "socket.connect", "socket.getaddrinfo", "urllib.Request"}
)
_listeners: list[list[str]] = []


def _hear(event: str, told: tuple[object, ...]) -> None:
    if _listeners and event in _OPENING:
        for heard in _listeners:
            heard.append(f"{event} {told}")


sys.addaudithook(_hear)  # once: a hook stays until the process ends


@contextmanager
def opened() -> Iterator[list[str]]:
    """What was opened meanwhile, by any thread."""
    heard: list[str] = []
    _listeners.append(heard)
    try:
        yield heard
    finally:
        _listeners.remove(heard)
