"""The open sockets of a connection pool."""

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
    """Weak references to the sockets that one pool opened, so that a forked child can cut off the inherited ones."""

    def __init__(self) -> None:
        self._open: WeakSet[socket.socket] = WeakSet()
        super().__init__()

    def __iter__(self) -> Iterator[socket.socket]:
        return iter(self._open)

    def add(self, opened: socket.socket) -> None:
        """Remember a socket that was just opened."""
        self._open.add(opened)

    def shut(self) -> None:
        """Shut all sockets down, even if a peer has not read all sent data yet."""
        for opened in self:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    @override
    def _begin(self) -> None:
        cut_off(opened.fileno() for opened in self._open)
        self._open = WeakSet()
