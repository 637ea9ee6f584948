"""The sockets of a pool."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakSet

from typing_extensions import override

from ..forks import PerProcess, cut_off

if TYPE_CHECKING:
    from collections.abc import Iterator


class Sockets(PerProcess):
    """Those that this process opened, as long as somebody holds them. What a forked child inherits is cut off there."""

    def __init__(self) -> None:
        self._open: WeakSet[socket.socket] = WeakSet()
        super().__init__()

    def __iter__(self) -> Iterator[socket.socket]:
        return iter(self._open)

    def add(self, one: socket.socket) -> None:
        """``one`` was opened."""
        self._open.add(one)

    def shut(self) -> None:
        """End them all, also where a peer has not yet read the rest of what was sent."""
        for one in self:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    @override
    def _begin(self) -> None:
        cut_off(one.fileno() for one in self._open)
        self._open = WeakSet()
