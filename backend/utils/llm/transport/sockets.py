"""The open sockets of one connection pool."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakSet

from typing_extensions import override

from ..forks import ForkSafe, disconnect_inherited_descriptors

if TYPE_CHECKING:
    from collections.abc import Iterator


class OpenSockets(ForkSafe):
    """The open sockets of one connection pool, held by weak references.

    A forked child disconnects its copies, so that it cannot use the parent's connections.
    """

    def __init__(self) -> None:
        self._open: WeakSet[socket.socket] = WeakSet()
        super().__init__()

    def __iter__(self) -> Iterator[socket.socket]:
        return iter(self._open)

    def add_socket(self, opened: socket.socket) -> None:
        """Add a socket that the pool has just opened."""
        self._open.add(opened)

    def shut_down_all(self) -> None:
        """Shut down all sockets at once, even if data sent through them has not been read by the peer."""
        for opened in self:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    @override
    def _begin(self) -> None:
        disconnect_inherited_descriptors(opened.fileno() for opened in self._open)
        self._open = WeakSet()
