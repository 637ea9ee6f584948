"""Connections: one pool for all threads, one for each event loop, one TLS context for the process.

For event loops it is aiohttp's: httpx2's takes three times the time for a request, and ten times when 256 are in flight.

A pool that outlives its loop fails the next loop's first request, so an asynchronous pool belongs to the loop it was
made in and ends with it: an asynchronous generator that the loop knows is closed by `asyncio.run` before the loop is.

Endpoints that users name have pools of their own, by where they may be. A connection there carries one request: each is
looked up and checked anew, and ten thousand users leave no more sockets behind than one.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from functools import lru_cache, partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakKeyDictionary, finalize

import aiohttp
import httpcore2
import httpx2
from typing_extensions import override
from yarl import URL

from ..forks import PerProcess
from .clocks import BoundedBackend, ticket_here
from .resolver import Resolver, addresses, resolving
from .sockets import Sockets
from .trust import trust_in

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping

    from ..network_policy import NetworkPolicy
    from .exchange import Request

KEEPALIVE_SECONDS = 60.0
"""How long an idle connection is kept. The SDKs' 5 s costs a TLS handshake for nearly every call of a quiet backend."""
LIMITS = httpx2.Limits(
    max_connections=1000, max_keepalive_connections=100, keepalive_expiry=KEEPALIVE_SECONDS
)
LONGEST_HEADER = 65_536
DEAD_PEER_SECONDS = 120
"""How long a peer may leave unacknowledged what was sent, also on a connection that we have given up."""
LARGE_BODY = 1_000_000
"""From here on a body is written in parts: at once it would hold up the event loop."""
DoneT = TypeVar("DoneT")


class _BoundedTransport(httpx2.HTTPTransport):
    """Its sockets keep to the time of each attempt. The class has no parameter for that; its pool has.

    What breaks the rules of HTTP is not repeated, neither in an exception nor in a log: a provider may repeat a key in it.

    Its connections end when nobody holds it any more, neither `Pools` nor an answer that is on its way. To close it in the
    middle of a request would leave that one's connection to nobody.
    """

    def __init__(self, policy: NetworkPolicy | None) -> None:
        super().__init__(verify=_tls(), trust_env=False)
        logging.getLogger("httpcore2.http11").addFilter(_say_what_is_done)
        self._pool = httpcore2.ConnectionPool(
            ssl_context=_tls(),
            max_connections=LIMITS.max_connections,
            max_keepalive_connections=LIMITS.max_keepalive_connections
            if trust_in(policy).keeps_connections
            else 0,
            keepalive_expiry=LIMITS.keepalive_expiry,
            network_backend=BoundedBackend(
                httpcore2.SyncBackend(), None if policy is None else partial(addresses, policy)
            ),
        )
        finalize(self, self._pool.close).atexit = False

    @override
    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = _without_context(partial(super().handle_request, request))
        response.stream = _Parts(cast("httpx2.SyncByteStream", response.stream), self)
        return response


class _Parts(httpx2.SyncByteStream):
    """A body on its way."""

    def __init__(self, stream: httpx2.SyncByteStream, pool: _BoundedTransport) -> None:
        self._stream = stream
        self._pool: _BoundedTransport | None = pool

    @override
    def __iter__(self) -> Iterator[bytes]:
        parts = iter(self._stream)
        while (part := _without_context(partial(next, parts, None))) is not None:
            yield part

    @override
    def close(self) -> None:
        self._stream.close()
        self._pool = None


def _without_context(work: Callable[[], DoneT]) -> DoneT:
    """What ``work`` gives. What it raises stays here: where it comes from the key is at hand.

    If HTTP was broken its words stay, too: h11 quotes what came, or was to be sent.
    """
    try:
        return work()
    except httpx2.ProtocolError as error:
        told: httpx2.TransportError = type(error)("The exchange did not keep to HTTP.")
    except httpx2.TransportError as error:
        told = type(error)(str(error))
    raise told


def _say_what_is_done(record: logging.LogRecord) -> bool:
    """Let httpcore2 log what is done for a request of ours, and not what came: it would log answers' headers."""
    if ticket_here() is not None:
        record.msg = str(record.msg).partition(" ")[0]
    return True


class _Certificates(PerProcess):
    """The TLS context, with what connections are tested with. A forked child makes its own: this one's lock, in OpenSSL, may be another thread's."""

    @override
    def _begin(self) -> None:
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = httpx2.create_ssl_context()
        return self._context


_tls = _Certificates().context


class _Resolver(aiohttp.ThreadedResolver):
    """Gives up in time."""

    @override
    async def resolve(self, *args: Any, **kwargs: Any) -> Any:
        async with resolving():
            return await super().resolve(*args, **kwargs)


class AsyncResponse:
    """An answer on its way. Its body comes as it was sent."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def part(self) -> bytes:
        """What came since the last look; empty at the end.

        Raises:
            httpx2.ReadError: The connection broke.
        """
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            told = _told(error)
        raise told

    def close(self) -> None:
        """Give the connection back, or close it if something is left to read."""
        self._response.close()


class AsyncPool:
    """The connections of one event loop. To be made in it.

    Args:
        policy: Where the endpoints may be, if users name them.
    """

    def __init__(self, policy: NetworkPolicy | None = None) -> None:
        self._sockets = Sockets()
        self._session = aiohttp.ClientSession(
            connector=self._connector(policy),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("accept", "accept-encoding", "content-type", "user-agent"),
            max_line_size=LONGEST_HEADER,
            max_field_size=LONGEST_HEADER,
            trust_env=False,
        )

    async def send(self, request: Request, connect_seconds: float) -> AsyncResponse:
        """Send ``request``. It is up to the caller how long the answer may take.

        Raises:
            httpx2.TransportError: No answer came. As an exception of its own, because aiohttp's holds the request's
                headers, and with them the key.
        """
        large = len(request.content) > LARGE_BODY
        told: BaseException
        try:
            response = await self._session.request(
                request.method,
                _url(request.url),
                data=BytesIO(request.content) if large else request.content,
                headers=request.headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(sock_connect=connect_seconds),
            )
        except (aiohttp.ClientError, OSError) as error:
            told = _told(error)
        except asyncio.CancelledError as error:
            told = asyncio.CancelledError(*error.args)
        else:
            return AsyncResponse(response)
        raise told

    def _connector(self, policy: NetworkPolicy | None) -> aiohttp.TCPConnector:
        keeps = trust_in(policy).keeps_connections
        return aiohttp.TCPConnector(
            ssl=_tls(),
            limit=LIMITS.max_connections or 0,
            keepalive_timeout=KEEPALIVE_SECONDS if keeps else None,
            force_close=not keeps,
            # The cache shares look-ups, and with them what is raised: one user's exception would be another's too.
            use_dns_cache=keeps,
            resolver=_Resolver() if policy is None else Resolver(policy),
            socket_factory=self._socket,
        )

    async def aclose(self) -> None:
        """Close all, also what waits for a peer to read the rest of a request."""
        await self._session.close()
        await asyncio.sleep(0)
        self._sockets.shut()
        await asyncio.sleep(0)

    def _socket(self, address: Any) -> socket.socket:
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_PEER_SECONDS * 1000)
        self._sockets.add(made)
        return made


@lru_cache(maxsize=1024)
def _url(url: str) -> URL:
    return URL(url, encoded=True)


def _told(error: Exception) -> httpx2.TransportError:
    """``error`` by the names of the HTTP library that both SDKs know. Nothing of the request is in it."""
    kind: type[httpx2.TransportError]
    match error:
        case aiohttp.ConnectionTimeoutError():
            kind = httpx2.ConnectTimeout
        case TimeoutError():
            kind = httpx2.ReadTimeout
        case aiohttp.ClientConnectorError():
            kind = httpx2.ConnectError
        case aiohttp.ClientResponseError():
            kind = httpx2.RemoteProtocolError
        case _:
            kind = httpx2.ReadError
    said = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return kind(said)


_Held = tuple[AsyncPool, "AsyncGenerator[None, None]"]


class Pools(PerProcess):
    """The connections of one transport."""

    @override
    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._threads: dict[NetworkPolicy | None, httpx2.HTTPTransport] = {}
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[NetworkPolicy | None, _Held]] = (
            WeakKeyDictionary()
        )

    def __len__(self) -> int:
        return sum(map(len, self._loops.values())) + len(self._threads)

    def warm_up(self) -> None:
        """Load the certificates that connections are tested with."""
        _tls()

    def for_threads(self, policy: NetworkPolicy | None = None) -> httpx2.HTTPTransport:
        """The pool of synchronous calls: to the house's providers, or to endpoints that users name, as ``policy`` permits."""
        with self._lock:
            pool = self._threads.get(policy)
            if pool is None:
                pool = self._threads[policy] = _BoundedTransport(policy)
            return pool

    def send(
        self, request: Request, waits: Mapping[str, float], policy: NetworkPolicy | None = None
    ) -> httpx2.Response:
        """Send ``request`` from a thread. The seconds of each kind of wait are given; others are the ticket's.

        Raises:
            httpx2.TransportError: No answer came. It holds nothing of the request, as that of `AsyncPool.send`.
        """
        return self.for_threads(policy).handle_request(
            httpx2.Request(
                request.method,
                request.url,
                headers=request.headers,
                content=request.content,
                extensions={"timeout": waits},
            )
        )

    async def for_this_loop(self, policy: NetworkPolicy | None = None) -> AsyncPool:
        """The same of the running loop."""
        loop = asyncio.get_running_loop()
        held = self._loops.get(loop, _NONE).get(policy)
        if held is None:
            pool = AsyncPool(policy)
            lifetime = _close_with_loop(pool)
            held = pool, lifetime
            with self._lock:
                for ended in [other for other in self._loops if other.is_closed()]:
                    del self._loops[ended]
                self._loops.setdefault(loop, {})[policy] = held
            await anext(lifetime)
        return held[0]

    def close(self) -> None:
        """Close the pools of synchronous calls, each as soon as no request is under way in it."""
        with self._lock:
            pools, self._threads = self._threads, {}
        del pools  # outside the lock

    async def aclose(self) -> None:
        """Close the running loop's pools, and those of synchronous calls."""
        with self._lock:
            held = self._loops.pop(asyncio.get_running_loop(), {})
        for _, lifetime in held.values():
            await lifetime.aclose()
        self.close()


_NONE: dict[NetworkPolicy | None, _Held] = {}


async def _close_with_loop(pool: AsyncPool) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await pool.aclose()
