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
    """The sockets that this process opened, while somebody holds them. What a forked child inherits is cut off there."""

    def __init__(self) -> None:
        self._open: WeakSet[socket.socket] = WeakSet()
        super().__init__()

    def __iter__(self) -> Iterator[socket.socket]:
        return iter(self._open)

    def add(self, opened: socket.socket) -> None:
        """Note a socket that was opened."""
        self._open.add(opened)

    def shut(self) -> None:
        """Shut all sockets down, also where a peer has not yet read the rest of what was sent."""
        for opened in self:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    @override
    def _begin(self) -> None:
        cut_off(opened.fileno() for opened in self._open)
        self._open = WeakSet()
