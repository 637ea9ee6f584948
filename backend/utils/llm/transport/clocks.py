"""No wait of a request outlasts its attempt's clocks.

An HTTP client's own time-out is for each wait, so an answer that trickles could go on for ever. Here each wait gets
what is left. Asynchronously a wait is cancelled; synchronously the socket is told how long it may block.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import httpcore2
import httpx2
from typing_extensions import override

from .sockets import Sockets

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterable, Iterator

WRITE_BYTES = 16_384
"""Written at once. The backend gives each part that a slow reader takes the whole time, so the parts are small."""
_this_thread = threading.local()
T = TypeVar("T")


class Deadline(Protocol):
    """What an attempt may still take, as its ticket knows."""

    def left(self) -> float:
        """Seconds until the next thing is due; negative if it is late."""


async def in_time(ticket: Deadline, work: Callable[[], Awaitable[T]]) -> T:
    """What ``work`` comes to, which is cancelled when the ticket's time is up.

    Raises:
        httpx2.ReadTimeout: It was. Where it was waiting is not told: there the headers are at hand, and with them the key.
    """
    left = ticket.left()
    try:
        async with asyncio.timeout(left):
            if left <= 0:
                await asyncio.sleep(0)
            return await work()
    except TimeoutError:
        pass
    raise httpx2.ReadTimeout("The attempt's time is up.")


@contextmanager
def in_time_here(ticket: Deadline) -> Iterator[None]:
    """Let no wait on a socket inside, in this thread, go beyond the ticket's time."""
    before = getattr(_this_thread, "ticket", None)
    _this_thread.ticket = ticket
    try:
        yield
    finally:
        _this_thread.ticket = before


def ticket_here() -> Deadline | None:
    """Whose request this thread is waiting for."""
    return getattr(_this_thread, "ticket", None)


def _left(timeout: float | None, late: type[Exception]) -> float | None:
    ticket = ticket_here()
    if ticket is None:
        return timeout
    left = ticket.left()
    if left <= 0:
        raise late("The attempt's time is up.")
    return left if timeout is None else min(timeout, left)


class BoundedBackend(httpcore2.NetworkBackend):
    """Connects as ``backend`` does; its streams keep to the time of whoever uses them.

    Args:
        addresses: All addresses of a host's name. Given the name, a socket would spend the whole time on each.
    """

    def __init__(
        self, backend: httpcore2.NetworkBackend, addresses: Callable[[str, int], list[str]] | None = None
    ) -> None:
        self._backend = backend
        self._addresses = addresses or _addresses
        self._sockets = Sockets()

    @override
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        addresses = self._addresses(host, port)
        left = _left(timeout, httpcore2.ConnectTimeout)
        share = None if left is None else left / max(1, len(addresses))
        failed: Exception = httpcore2.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                stream = self._backend.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failed = error
            else:
                return _BoundedStream(stream, self._sockets)
        raise failed


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpcore2.ConnectError(str(error)) from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class _BoundedStream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream, sockets: Sockets) -> None:
        self._stream = stream
        self._sockets = sockets
        found = stream.get_extra_info("socket")
        if isinstance(found, socket.socket):
            sockets.add(found)

    @override
    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore2.ReadTimeout))

    @override
    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), WRITE_BYTES):
            piece = buffer[start : start + WRITE_BYTES]
            self._stream.write(piece, _left(timeout, httpcore2.WriteTimeout))

    @override
    def close(self) -> None:
        self._stream.close()

    @override
    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        try:
            left = _left(timeout, httpcore2.ConnectTimeout)
        except httpcore2.ConnectTimeout:  # nobody else closes what was not yet a connection
            self.close()
            raise
        return _BoundedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._sockets)

    @override
    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
