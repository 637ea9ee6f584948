"""Passes accepted connections from the supervisor to the workers, in turn."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 0.1
"""Seconds after which a connection that no worker could take is offered again."""


class Channel:
    """Passes connections to one worker.

    The supervisor keeps both ends open, so that it can take back what an ended worker has not accepted.
    """

    def __init__(self) -> None:
        self._sending, self._receiving = socket.socketpair()
        self._sending.settimeout(0)
        self._receiving.settimeout(0)

    @property
    def descriptor(self) -> int:
        """The file descriptor of the worker's end, for the worker to inherit."""
        return self._receiving.fileno()

    def send(self, connection: socket.socket) -> bool:
        """Send a connection, which also stays open here. False if the worker has too many waiting."""
        try:
            socket.send_fds(self._sending, [b"\0"], [connection.fileno()])
        except (
            OSError
        ):  # its buffer is full, or so many descriptors are on their way that the kernel takes no more
            return False
        return True

    def taken_back(self) -> Iterator[socket.socket]:
        """The connections that the worker has not accepted, taken out of the channel."""
        while (connection := _received(self._receiving)) is not None:
            yield connection

    def close(self) -> None:
        """Close both ends, and every connection that is left."""
        self._sending.close()
        self._receiving.close()


class ChannelListener(socket.socket):
    """The worker's end of a channel, as a listening socket: it accepts the connections that the supervisor sends."""

    @override
    def listen(self, backlog: int = 0, /) -> None:
        """Do nothing: the supervisor listens."""

    @override
    def accept(self) -> tuple[socket.socket, Any]:
        connection = _received(self)
        if connection is None:
            raise BlockingIOError
        try:
            return connection, connection.getpeername()
        except OSError:
            connection.close()
            raise ConnectionAbortedError from None


def _received(channel: socket.socket) -> socket.socket | None:
    """The next connection that was sent; None if there is none."""
    try:
        _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
    except BlockingIOError:
        return None
    if not descriptors:  # the supervisor is gone
        return None
    connection = socket.socket(fileno=descriptors[0])
    connection.set_inheritable(False)
    return connection


class Dispatcher:
    """Accepts connections while there are workers, and sends each to the next worker in turn.

    So workers have equally many connections. The kernel does not ensure that: of several waiting processes it may wake the same one
    each time.

    Args:
        listener: The socket to which clients connect, and in whose queue they wait. `close` closes it.
    """

    def __init__(self, listener: socket.socket) -> None:
        listener.settimeout(0)
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._channels: deque[Channel] = deque()
        self._waiting: deque[socket.socket] = deque()
        self._retry: asyncio.TimerHandle | None = None

    def add(self, channel: Channel) -> None:
        """Add a worker's channel to the rotation."""
        self._channels.append(channel)
        self._dispatch()

    def remove(self, channel: Channel) -> None:
        """Remove a worker's channel, and give its unaccepted connections to others. Does nothing if it was removed before."""
        if channel in self._channels:
            self._channels.remove(channel)
            self._waiting.extend(channel.taken_back())
            self._dispatch()

    def close(self) -> None:
        """Stop accepting, and close the connections that no worker could take."""
        self._channels.clear()
        if self._listener.fileno() >= 0:
            self._pause()
            self._listener.close()
        while self._waiting:
            self._waiting.popleft().close()

    def _dispatch(self) -> None:
        """Send what waits. While something is left, or nobody is there, clients wait in the queue of the listener."""
        while self._waiting and self._is_sent(self._waiting[0]):
            self._waiting.popleft().close()
        if self._listener.fileno() < 0:
            return
        self._pause()
        if self._waiting and self._channels:
            self._retry = self._loop.call_later(RETRY_SECONDS, self._dispatch)
        elif self._channels:
            self._loop.add_reader(self._listener, self._accept)

    def _pause(self) -> None:
        self._loop.remove_reader(self._listener)
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            log.error("workers.cannot_accept: %s", error)  # noqa: TRY400 - it says all
            self._pause()
            self._retry = self._loop.call_later(1.0, self._dispatch)
            return
        self._waiting.append(connection)
        if self._is_sent(connection):
            self._waiting.popleft().close()
        else:
            self._dispatch()

    def _is_sent(self, connection: socket.socket) -> bool:
        """Whether a worker was sent it: the next, or the one after that if its channel is full."""
        for _ in range(len(self._channels)):
            channel = self._channels[0]
            self._channels.rotate(-1)
            if channel.send(connection):
                return True
        return False
