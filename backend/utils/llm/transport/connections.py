"""Connection pools: one for all threads, one for each event loop.

An event loop's pool is aiohttp's, because httpx2's takes three to ten times as long for a request.

Users' own endpoints have separate pools, one for each network policy. A connection there carries one
request, so that each host is looked up and checked again, and idle sockets do not pile up.

No wait exceeds the attempt's deadline. The timeouts of HTTP clients apply to each wait separately, so
that an answer could trickle in for ever. On an event loop the wait is cancelled. In a thread, the
request's ticket is passed to httpcore2 as its timeout: before each read and write, the connection's
stream sets the socket's timeout by the ticket's deadline, which moves while the answer arrives.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import socket
import threading
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, finalize

import httpcore2
import httpx2
from typing_extensions import override

from ..forks import ForkSafe
from ..interruptions import find_interruption, raise_without_context
from .broken import BROKEN, TOO_LATE, to_httpx_error
from .loop_pool import KEEPALIVE_SECONDS, MOST_CONNECTIONS, LoopConnectionPool, keeps_connections
from .resolver import resolve_host
from .response import Response
from .sockets import OpenSockets
from .ticket import LATE_SECONDS, LOOK_SECONDS

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    from ..network_policy import NetworkPolicy
    from .request import Request
    from .ticket import Ticket

MOST_IDLE = 100
WRITE_BYTES = 16_384
"""The bytes that a thread writes at once. httpcore2 grants each part the whole timeout, so parts are small."""


class _Certificates(ForkSafe):
    """The TLS context of the process. A forked child makes a new one, because another thread may hold the inherited lock in OpenSSL."""

    @override
    def _begin(self) -> None:
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = httpx2.create_ssl_context()
        return self._context


_tls = _Certificates().context


# Threads -------------------------------------------------------------------------------------------------------------


def _left(ticket: Ticket, late: type[Exception]) -> float:
    left = ticket.due - ticket.clock()
    if left <= 0:
        raise late(TOO_LATE)
    return left


def _left_to_connect(ticket: Ticket) -> float:
    return min(ticket.connect_seconds, _left(ticket, httpcore2.ConnectTimeout))


class TicketNetworkBackend(httpcore2.NetworkBackend):
    """A network backend of httpcore2 that takes a `Ticket` instead of a timeout. No wait exceeds its deadline.

    Args:
        backend: The backend that makes the connections.
        resolve: Returns all addresses of a host and port, within the given seconds.
    """

    def __init__(
        self, backend: httpcore2.NetworkBackend, resolve: Callable[[str, int, float], list[str]]
    ) -> None:
        self._backend = backend
        self._resolve = resolve
        self._sockets = OpenSockets()

    @override
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: Ticket | Any = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        found = self._resolve(host, port, _left_to_connect(timeout))
        left = _left_to_connect(timeout)
        failure: Exception = httpcore2.ConnectError(f"{host} has no address")
        for address in found:
            try:
                stream = self._connected(timeout, left / len(found), address, port, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                if find_interruption(error) is not None:
                    raise
                failure = error
            else:
                return _BoundedStream(stream, self._sockets)
        raise failure

    def _connected(
        self, ticket: Ticket, seconds: float, address: str, port: int, socket_options: Iterable[Any] | None
    ) -> httpcore2.NetworkStream:
        """A connection within ``seconds``. If this process was too late to see whether it was made, it is made again."""
        began_at = ticket.clock()
        try:
            return self._backend.connect_tcp(address, port, seconds, None, socket_options)
        except httpcore2.ConnectTimeout:
            if ticket.clock() - began_at < seconds + LATE_SECONDS:
                raise
        again = min(seconds, _left_to_connect(ticket))
        return self._backend.connect_tcp(address, port, again, None, socket_options)


class _BoundedStream(httpcore2.NetworkStream):
    """A stream that is closed at the latest when it is garbage-collected."""

    def __init__(self, stream: httpcore2.NetworkStream, sockets: OpenSockets) -> None:
        self._stream = stream
        self._sockets = sockets
        opened = stream.get_extra_info("socket")
        if isinstance(opened, socket.socket):
            sockets.add_socket(opened)
        finalize(self, stream.close).atexit = False

    @override
    def read(self, max_bytes: int, timeout: Ticket | Any = None) -> bytes:
        try:
            return self._stream.read(max_bytes, _left(timeout, httpcore2.ReadTimeout))
        except httpcore2.ReadTimeout as error:
            if find_interruption(error) is not None or not timeout.extend_if_late():
                raise
        return self._stream.read(max_bytes, LOOK_SECONDS)

    @override
    def write(self, buffer: bytes, timeout: Ticket | Any = None) -> None:
        for start in range(0, len(buffer), WRITE_BYTES):
            piece = buffer[start : start + WRITE_BYTES]
            timeout.observed.has_left = True
            try:
                self._stream.write(piece, _left(timeout, httpcore2.WriteTimeout))
            except (httpcore2.WriteError, httpcore2.WriteTimeout) as error:
                if (interruption := find_interruption(error)) is not None:
                    raise_without_context(interruption)  # else httpcore2 would go on, and read
                raise

    @override
    def close(self) -> None:
        self._stream.close()

    @override
    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: Ticket | Any = None
    ) -> httpcore2.NetworkStream:
        try:
            left = _left_to_connect(timeout)
        except httpcore2.ConnectTimeout:
            self.close()
            raise
        return _BoundedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._sockets)

    @override
    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _pool(policy: NetworkPolicy | None, lock: threading.RLock) -> httpcore2.ConnectionPool:
    """A pool with ``lock`` instead of its own lock, which an exception from outside may leave locked."""
    logging.getLogger("httpcore2.http11").addFilter(_log_no_answer)
    pool = httpcore2.ConnectionPool(
        ssl_context=_tls(),
        max_connections=MOST_CONNECTIONS,
        max_keepalive_connections=MOST_IDLE if keeps_connections(policy) else 0,
        keepalive_expiry=KEEPALIVE_SECONDS,
        network_backend=TicketNetworkBackend(httpcore2.SyncBackend(), partial(resolve_host, policy)),
    )
    pool._optional_thread_lock = lock  # type: ignore[assignment]  # noqa: SLF001
    return pool


def _log_no_answer(record: logging.LogRecord) -> bool:
    """Let httpcore2 log this package's requests without their answers, whose headers it would log.

    The stack, which shows whether this package sent the request, is read only if ``DEBUG`` is logged.
    """
    frame: FrameType | None = getattr(inspect.currentframe(), "f_back", None)
    while frame and frame.f_globals.get("__package__") != __package__:
        frame = frame.f_back
    if frame:
        record.msg = str(record.msg).partition(" ")[0]
    return True


@lru_cache(maxsize=1024)
def _target(url: str) -> tuple[httpcore2.URL, bytes]:
    """The address to connect to, and the ``Host`` header."""
    found = httpx2.URL(url)
    target = httpcore2.URL(
        scheme=found.raw_scheme, host=found.raw_host, port=found.port, target=found.raw_path
    )
    return target, found.netloc


def _addressed(request: Request, ticket: Ticket) -> httpcore2.Request:
    target, host = _target(request.url)
    left = max(0.0, ticket.due - ticket.clock())
    return httpcore2.Request(
        request.method,
        target,
        headers=[("host", host), *request.headers.items(), ("content-length", str(len(request.content)))],
        content=request.content,
        extensions={"timeout": {"connect": ticket, "read": ticket, "write": ticket, "pool": left}},
    )


# Both ----------------------------------------------------------------------------------------------------------------


class ConnectionPools(ForkSafe):
    """The connection pools of one transport: for synchronous calls, and for each event loop."""

    @override
    def _begin(self) -> None:
        self._lock, self._lock_of_threads = threading.Lock(), threading.RLock()
        self._threads: dict[NetworkPolicy | None, httpcore2.ConnectionPool] = {}
        self._loops: WeakKeyDictionary[
            asyncio.AbstractEventLoop, dict[NetworkPolicy | None, LoopConnectionPool]
        ] = WeakKeyDictionary()

    def __len__(self) -> int:
        return sum(map(len, self._loops.values())) + len(self._threads)

    def warm_up(self) -> None:
        """Load the CA certificates for TLS now, which would otherwise delay the first request."""
        _tls()

    def send(self, request: Request, ticket: Ticket) -> Response:
        """Send ``request``, which already has its key, and block the thread until the response's headers arrive.

        Raises:
            ForbiddenAddressError: The address of a user's own endpoint is not permitted.
            httpx2.TransportError: No answer arrived.
        """
        policy = ticket.provider.network_policy
        pool = self._threads.get(policy) or self.get_sync_pool(policy)
        try:
            response = pool.handle_request(_addressed(request, ticket))
        except BROKEN as error:
            failure: BaseException = to_httpx_error(error)
        else:
            headers = {  # of two with the same name the first counts, as with aiohttp
                name.lower().decode("ascii"): value.decode(errors="surrogateescape")
                for name, value in reversed(response.headers)
            }
            body: Iterator[bytes] = iter(response.stream)  # type: ignore[arg-type]
            return Response(ticket, response.status, headers, body, response.close)
        raise failure

    def get_sync_pool(self, policy: NetworkPolicy | None = None) -> httpcore2.ConnectionPool:
        """Return the synchronous pool for user endpoints under ``policy``; for None, for the operator's providers."""
        with self._lock:
            if policy not in self._threads:
                self._threads[policy] = _pool(policy, self._lock_of_threads)
            return self._threads[policy]

    async def get_loop_pool(self, policy: NetworkPolicy | None = None) -> LoopConnectionPool:
        """Return the event loop's pool for user endpoints under ``policy``; for None, for the operator's providers."""
        loop = asyncio.get_running_loop()
        pool = self._loops.get(loop, {}).get(policy)
        if pool is None:
            pool = LoopConnectionPool(_tls(), policy)
            with self._lock:
                for ended in [other for other in self._loops if other.is_closed()]:
                    del self._loops[ended]
                self._loops.setdefault(loop, {})[policy] = pool
            await anext(pool.lifetime)
        return pool

    def replace_sync_pool(self, policy: NetworkPolicy | None) -> None:
        """Replace the synchronous calls' pool for ``policy`` by a new one. Requests in flight continue.

        Called after an interruption such as ``KeyboardInterrupt``, which may have left a connection of the pool
        in the middle of an answer.
        """
        with self._lock:
            pool = self._threads.pop(policy, None)
        del pool  # outside the lock

    def close(self) -> None:
        """Drop the pools of synchronous calls. Each connection is closed as soon as no request uses it.

        Closing them here would leak connections that are still being made, and break requests in flight.
        """
        with self._lock:
            pools, self._threads = self._threads, {}
        del pools  # outside the lock

    async def aclose(self) -> None:
        """Close the running event loop's pools once no request uses them, and drop those of synchronous calls."""
        with self._lock:
            pools = self._loops.pop(asyncio.get_running_loop(), {})
        for pool in pools.values():
            await pool.close_when_idle()
        self.close()
