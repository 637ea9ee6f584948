"""The connection pool of one event loop.

A pool that outlived its loop would fail the next loop's first request. So a pool belongs to the loop in
which it was made and ends with it: `asyncio.run` closes a loop's asynchronous generators before the
loop.
"""

from __future__ import annotations

import asyncio
import socket
from functools import lru_cache, partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

import aiohttp
from typing_extensions import override
from yarl import URL

from ..caller import copy_context_without_caller
from .broken import BROKEN, to_httpx_error
from .patience import TicketDeadline, UnblockedLoopTimeout
from .resolver import AddressResolver
from .response import AsyncResponse
from .sockets import OpenSockets
from .trust import HOUSE, STRANGER

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

    from ..network_policy import NetworkPolicy
    from .request import Request
    from .ticket import Ticket

KEEPALIVE_SECONDS = 60.0
"""Seconds that an idle connection is kept. The SDKs' 5 s cost a quiet backend a TLS handshake for nearly every call."""
MOST_CONNECTIONS = 1000
LONGEST_HEADER = 65_536
DEAD_PEER_SECONDS = 120
"""Seconds that a peer may leave sent data unacknowledged, also on a connection that we have dropped."""


def keeps_connections(policy: NetworkPolicy | None) -> bool:
    """Whether connections under ``policy`` are kept open for further requests.

    True for the operator's providers (``policy`` is None), False for users' own endpoints.
    """
    return (HOUSE if policy is None else STRANGER).keeps_connections


LARGE_BODY = 1_000_000
"""The size in bytes from which a body is written in parts, because one write would block the event loop."""
_NO_CLOCK = aiohttp.ClientTimeout()


class TicketTimeout(aiohttp.ClientTimeout):
    """An aiohttp ``ClientTimeout`` that carries the request's ticket to aiohttp's connector."""

    ticket: Ticket

    def __init__(self, ticket: Ticket) -> None:
        super().__init__(sock_connect=ticket.connect_seconds)
        object.__setattr__(self, "ticket", ticket)


class _Connector(aiohttp.TCPConnector):
    """aiohttp's connector, whose timeout for a connection excludes time in which the loop was blocked."""

    @override
    async def connect(
        self, req: Any, traces: Any, timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        connection = await super().connect(req, traces, timeout)
        if isinstance(timeout, TicketTimeout):
            timeout.ticket.observed.has_left = True
        return connection

    @override
    async def _wrap_create_connection(self, *args: Any, timeout: aiohttp.ClientTimeout, **given: Any) -> Any:
        async with UnblockedLoopTimeout(timeout.sock_connect):
            return await super()._wrap_create_connection(*args, timeout=_NO_CLOCK, **given)


class LoopConnectionPool:
    """A connection pool of aiohttp for the event loop that is running when the pool is made.

    Args:
        tls: The TLS context.
        policy: The permitted addresses of users' own endpoints; None for the operator's providers.

    Attributes:
        lifetime: An asynchronous generator to start in the loop. The pool is closed when it ends.
        in_flight: The ticket numbers of requests whose answers were not read to the end yet.
    """

    def __init__(self, tls: ssl.SSLContext, policy: NetworkPolicy | None) -> None:
        self.in_flight: set[str] = set()
        self._loop = asyncio.get_running_loop()
        self._is_left = False
        self._closing: asyncio.Task[None] | None = None
        self._sockets = OpenSockets()
        keeps = keeps_connections(policy)
        connector = _Connector(
            ssl=tls,
            limit=MOST_CONNECTIONS,
            keepalive_timeout=KEEPALIVE_SECONDS if keeps else None,
            force_close=not keeps,
            # The cache shares look-ups, and with them what is raised: one user's exception would be another's too.
            use_dns_cache=keeps,
            resolver=AddressResolver(policy),
            socket_factory=self._socket,
        )
        self.session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("accept", "accept-encoding", "content-type", "user-agent"),
            max_line_size=LONGEST_HEADER,
            max_field_size=LONGEST_HEADER,
            trust_env=False,
        )
        self.lifetime = _until_closed(self.session, self._sockets)

    async def send(self, request: Request, ticket: Ticket) -> AsyncResponse:
        """Send ``request``, which already has its key, and return the response once its headers have arrived.

        Raises:
            ForbiddenAddressError: The address of a user's own endpoint is not permitted.
            httpx2.TransportError: No answer arrived.
        """
        large = len(request.content) > LARGE_BODY
        failure: BaseException
        self.in_flight.add(ticket.number)
        response: aiohttp.ClientResponse | None = None
        try:
            async with TicketDeadline(ticket):
                response = await self.session.request(
                    request.method,
                    _url(request.url),
                    data=BytesIO(request.content) if large else request.content,
                    headers=request.headers,
                    allow_redirects=False,
                    timeout=TicketTimeout(ticket),
                )
        except BROKEN as error:
            failure = to_httpx_error(error)
        except asyncio.CancelledError as error:
            failure = asyncio.CancelledError(*error.args)
        else:
            finish = partial(self.release_connection, response, ticket.number)
            return AsyncResponse(ticket, response.status, response.headers, response.content, finish)
        finally:
            if response is None:
                self.record_failed_request(ticket.number)
        raise failure

    def release_connection(self, response: aiohttp.ClientResponse, ticket_number: str) -> None:
        """Release the connection of a request whose answer was read to the end or dropped."""
        response.close()
        self.in_flight.discard(ticket_number)
        if self._is_left:
            self._close_if_idle()

    def record_failed_request(self, ticket_number: str) -> None:
        """Record that the request with this ticket number failed without an answer."""
        self.in_flight.discard(ticket_number)
        if self._is_left:
            self._close_if_idle()

    async def close_when_idle(self) -> None:
        """Close the pool: at once if no request is in flight, else when the last one ends."""
        self._is_left = True
        if (closing := self._close_if_idle()) is not None:
            await closing

    def _close_if_idle(self) -> asyncio.Task[None] | None:
        """Close the pool, unless a request is in flight. Called in the pool's loop."""
        if self._closing is None and not (self.in_flight or self._loop.is_closed()):
            close = self.lifetime.aclose()
            self._closing = self._loop.create_task(close, context=copy_context_without_caller())
        return self._closing

    def _socket(self, address: Any) -> socket.socket:
        family, kind, protocol, *_ = address
        opened = socket.socket(family, kind, protocol)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_PEER_SECONDS * 1000)
        self._sockets.add_socket(opened)
        return opened


async def _until_closed(session: aiohttp.ClientSession, sockets: OpenSockets) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await session.close()
        await asyncio.sleep(0)
        sockets.shut_down_all()  # also what waits for a peer to read the rest of a request
        await asyncio.sleep(0)


@lru_cache(maxsize=1024)
def _url(url: str) -> URL:
    return URL(url, encoded=True)
