"""Passes accepted connections from the supervisor to the workers, in turn."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

MOST_UNACCEPTED: Final = 8
"""The most unaccepted connections that a worker is sent, so that one that hangs gets no more."""
RETRY_SECONDS: Final = 0.1
"""Seconds after which a connection that the kernel did not send is offered again."""
PAUSE_SECONDS: Final = 1.0
"""Seconds after which accepting is tried again, where no descriptor was free."""


class WorkerChannel:
    """Passes client connections, as file descriptors, from the supervisor to one worker process.

    The supervisor keeps both ends of the channel open. If the worker ends, the supervisor takes back the
    connections that the worker has not accepted.
    """

    def __init__(self) -> None:
        self._sending, self._receiving = socket.socketpair()
        self._sending.settimeout(0)
        self._receiving.settimeout(0)
        self._unaccepted = 0

    @property
    def worker_descriptor(self) -> int:
        """The file descriptor of the worker's end, which the worker process inherits."""
        return self._receiving.fileno()

    def fileno(self) -> int:
        """Return the file descriptor of the supervisor's end; -1 if the channel is closed.

        It becomes readable when the worker has accepted a connection.
        """
        return self._sending.fileno()

    def send_connection(self, connection: socket.socket) -> bool:
        """Pass ``connection`` to the worker. The caller must still close its own copy.

        Returns:
            False if nothing was sent, because the channel is full of connections that the worker has not accepted.
        """
        if self._unaccepted:
            with suppress(BlockingIOError):
                self._unaccepted -= len(self._sending.recv(MOST_UNACCEPTED))
        if self._unaccepted >= MOST_UNACCEPTED:
            return False
        try:
            socket.send_fds(self._sending, [b"\0"], [connection.fileno()])
        except OSError:  # so many descriptors are on their way that the kernel takes no more
            return False
        self._unaccepted += 1
        return True

    def take_back_connections(self) -> Iterator[socket.socket]:
        """Take the connections that the worker has not accepted out of the channel, and yield them.

        Raises:
            OSError: The process has too many open files. The remaining connections can be taken back later.
        """
        while True:
            try:
                connection = _received(self._receiving)
            except BlockingIOError:
                return
            if connection is not None:
                yield connection

    def close(self) -> None:
        """Close both ends, and every connection that is still in the channel."""
        self._sending.close()
        self._receiving.close()


class WorkerChannelListener(socket.socket):
    """The worker's end of a channel, in the form of a listening socket, for the worker's HTTP server.

    Its `accept` returns the connections that the supervisor passes on.
    """

    _has_failed = False

    @override
    def listen(self, backlog: int = 0, /) -> None:
        """Do nothing: only the supervisor listens on the port."""

    @override
    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection, and acknowledge it to the supervisor. An asyncio event loop must be running."""
        connection = self._next()
        with suppress(OSError):  # the supervisor is gone, or waits for no answer any more
            self.send(b"\0")
        if connection is None:
            raise ConnectionAbortedError
        try:
            return connection, connection.getpeername()
        except OSError:
            connection.close()
            raise ConnectionAbortedError from None

    def _next(self) -> socket.socket | None:
        if self._has_failed:  # up to Python 3.13 asyncio asks again at once, as often as its backlog says
            self._has_failed = False
            raise BlockingIOError
        try:
            return _received(self)
        except (EOFError, ConnectionResetError):  # nothing comes any more, and that could be read for ever
            asyncio.get_running_loop().remove_reader(self)
            raise BlockingIOError from None
        except BlockingIOError:
            raise
        except OSError:
            self._has_failed = True
            raise


def _received(channel: socket.socket) -> socket.socket | None:
    """The next connection in the channel; None if it was lost.

    Raises:
        BlockingIOError: None has arrived.
        EOFError: The channel is closed.
        OSError: No descriptor is free. The connection stays in the channel.
    """
    os.close(os.dup(channel.fileno()))  # the kernel drops a descriptor that comes while none is free
    sent, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
    if not sent:
        raise EOFError
    if not descriptors:
        log.error("workers.connection_lost: no descriptor was free")
        return None
    connection = socket.socket(fileno=descriptors[0])
    connection.set_inheritable(False)
    return connection


class ConnectionDispatcher:
    """Accepts connections in the supervisor, and passes each to the next worker in turn.

    So all workers get equally many connections. If they all accepted from one socket, the kernel might wake
    the same process each time. While there are no workers, nothing is accepted.

    Args:
        listener: The socket to which clients connect. `close` closes it.
    """

    def __init__(self, listener: socket.socket) -> None:
        listener.settimeout(0)
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._channels: deque[WorkerChannel] = deque()
        self._removed: deque[WorkerChannel] = deque()
        self._waiting: deque[socket.socket] = deque()
        self._retry: asyncio.TimerHandle | None = None

    def add_channel(self, channel: WorkerChannel) -> None:
        """Add a worker's channel, so that the worker gets connections."""
        self._channels.append(channel)
        self._dispatch()

    def remove_channel(self, channel: WorkerChannel) -> None:
        """Remove a worker's channel, pass its unaccepted connections to other workers, and close it.

        Does nothing if the channel was removed before.
        """
        if self._listener.fileno() < 0:
            channel.close()
        elif channel.fileno() >= 0 and channel not in self._removed:
            self._pause()
            with suppress(ValueError):  # it had no turn yet
                self._channels.remove(channel)
            self._removed.append(channel)
            self._dispatch()

    def close(self) -> None:
        """Stop accepting, and close the connections that no worker has taken."""
        if self._listener.fileno() >= 0:
            self._pause()
            self._listener.close()
        self._channels.clear()
        for left in (self._removed, self._waiting):
            while left:
                left.popleft().close()

    def _dispatch(self) -> None:
        """Send the waiting connections. While some are left, or there are no workers, clients wait in the listener's queue."""
        if self._listener.fileno() < 0:
            return
        self._pause()
        try:
            self._take_back()
        except OSError as error:
            self._try_later(error)
        while self._waiting and self._is_sent(self._waiting[0]):
            self._waiting.popleft().close()
        if self._retry is not None or not self._channels:
            return
        if not self._waiting:
            self._loop.add_reader(self._listener, self._accept)
            return
        self._retry = self._loop.call_later(RETRY_SECONDS, self._dispatch)
        for channel in self._channels:
            self._loop.add_reader(channel, self._dispatch)

    def _take_back(self) -> None:
        while self._removed:
            self._waiting.extend(self._removed[0].take_back_connections())
            self._removed.popleft().close()

    def _try_later(self, error: OSError) -> None:
        log.error("workers.cannot_accept: %s", error)
        self._pause()
        self._retry = self._loop.call_later(PAUSE_SECONDS, self._dispatch)

    def _pause(self) -> None:
        self._loop.remove_reader(self._listener)
        for channel in self._channels:
            self._loop.remove_reader(channel)
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            self._try_later(error)
            return
        self._waiting.append(connection)
        if self._is_sent(connection):
            self._waiting.popleft().close()
        else:
            self._dispatch()

    def _is_sent(self, connection: socket.socket) -> bool:
        """Whether ``connection`` was sent to the next worker, or to a later one if that has too many unaccepted ones."""
        for _ in range(len(self._channels)):
            channel = self._channels[0]
            self._channels.rotate(-1)
            if channel.send_connection(connection):
                return True
        return False
