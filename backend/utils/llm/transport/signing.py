"""Sign each request with its attempt's credential, and note what the wire said.

This is the one place that reads a secret. It fails closed: a request without a ticket, or bound for another origin than
its ticket's provider, is not sent. It serves both SDKs, which speak through two kinds of HTTP client with the same
shape (``httpx2`` and ``httpx``), synchronously and asynchronously.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import urlsplit

import httpx
import httpx2

from ..errors import CredentialNotAllowedError, LLMError, ProviderDownError
from .clocks import in_time, in_time_here
from .pools import Pools
from .streams import WatchedStream, httpx_stream
from .ticket import ERROR_STATUS, TICKET_HEADER, TicketDesk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .ticket import Address, LiveAddress, Ticket, Wire

START_SECONDS = 60.0
"""How long a request that comes early waits for an embedded provider to be ready."""
_LONGEST_ERROR = 65_536
_IDENTITY_HEADERS = (
    "api-key",
    "authorization",
    "cookie",
    "openai-organization",
    "openai-project",
    "x-api-key",
    "x-goog-api-key",
    "x-goog-user-project",
    TICKET_HEADER,
)
_BODY_HEADERS = ("content-encoding", "content-length", "transfer-encoding")
_TOLD_HEADERS = ("retry-after", "retry-after-ms", "x-should-retry", "x-request-id", "content-type")


class _Request(Protocol):
    """What `httpx.Request` and `httpx2.Request` have in common."""

    method: str
    url: Any
    headers: Any
    extensions: Any

    def read(self) -> bytes: ...

    async def aread(self) -> bytes: ...


class SigningTransport:
    """The transport under every chat client.

    Args:
        live: Embedded providers by name; they tell their address and secret themselves.
        clock: The monotonic clock, in seconds.
    """

    def __init__(
        self, live: Mapping[str, LiveAddress] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.desk = TicketDesk(clock)
        self.pools = Pools()
        self._live = dict(live or {})

    def handle_request(self, request: _Request) -> Any:
        """Send ``request`` from a thread."""
        ticket = self._admit(request)
        live = self._wait_for(ticket)
        signed = self._sign(request, request.read(), ticket, live)
        with in_time_here(ticket):
            response = self.pools.for_threads().handle_request(signed)
            _note_head(ticket.wire, response)
            if response.status_code >= ERROR_STATUS:
                response = _error(response, response.read(), ticket)
        return _answer(request, response, ticket)

    async def handle_async_request(self, request: _Request) -> Any:
        """Send ``request`` from an event loop."""
        ticket = self._admit(request)
        live = await self._await(ticket)
        signed = self._sign(request, await request.aread(), ticket, live)
        async with in_time(ticket):
            response = await (await self.pools.for_this_loop()).handle_async_request(signed)
            _note_head(ticket.wire, response)
            if response.status_code >= ERROR_STATUS:
                response = _error(response, await response.aread(), ticket)
        return _answer(request, response, ticket)

    def close(self) -> None:
        """Nothing: an SDK's client that goes away must not close what all clients share; `Pools.close` does."""

    async def aclose(self) -> None:
        """Nothing, as `close`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # Admission -----------------------------------------------------------------------------------------------------

    def _admit(self, request: _Request) -> Ticket:
        ticket = self.desk.find(request.headers.get(TICKET_HEADER))
        if ticket is None:
            raise CredentialNotAllowedError("A request without a running attempt was not sent.")
        if _origin(str(request.url)) != _origin(ticket.provider.base_url):
            raise self._refuse(
                ticket,
                CredentialNotAllowedError(
                    f"A request bound for another host than {ticket.provider.name}'s was not sent."
                ),
            )
        return ticket

    def _refuse(self, ticket: Ticket, error: LLMError) -> LLMError:
        ticket.wire.refusal = error
        return error

    def _source(self, ticket: Ticket) -> LiveAddress | None:
        if ticket.provider.access != "embedded":
            return None
        try:
            return self._live[ticket.provider.name]
        except KeyError:
            raise self._refuse(
                ticket,
                ProviderDownError(
                    f"The embedded provider {ticket.provider.name!r} is not running in this process. "
                    "Set a cloud provider's key, or pass a running one: Patchbay(live={…})."
                ),
            ) from None

    def _wait_for(self, ticket: Ticket) -> Address | None:
        source = self._source(ticket)
        if source is None:
            return None
        try:
            return source.current() or source.address(min(START_SECONDS, max(0.0, ticket.left())))
        except Exception as error:
            raise self._refuse(ticket, ProviderDownError(str(error))) from error

    async def _await(self, ticket: Ticket) -> Address | None:
        source = self._source(ticket)
        if source is None or (now := source.current()) is not None:
            return None if source is None else now
        return await asyncio.to_thread(self._wait_for, ticket)

    # Signature -----------------------------------------------------------------------------------------------------

    def _sign(self, request: _Request, body: bytes, ticket: Ticket, live: Address | None) -> httpx2.Request:
        """The request as it goes out. A new one: what the SDK holds, and might follow a redirect with, has no key."""
        headers = httpx2.Headers(request.headers.multi_items())
        for name in (*_IDENTITY_HEADERS, "host"):
            headers.pop(name, None)
        headers.update(dict(ticket.provider.headers))
        headers.update(_signature(ticket, live))
        url = (
            _rebased(str(request.url), ticket.provider.base_url, live.base_url) if live else str(request.url)
        )
        ticket.wire.requests += 1
        ticket.wire.bytes_sent = len(body)
        ticket.wire.sent_at = ticket.clock()
        left = max(0.0, ticket.left())
        # Reading and writing go by the ticket's clocks, which move while the answer comes.
        waits = {"connect": min(left, ticket.connect_seconds), "pool": left}
        return httpx2.Request(
            request.method, url, headers=headers, content=body, extensions={"timeout": waits}
        )


def _signature(ticket: Ticket, live: Address | None) -> dict[str, str]:
    secret = ticket.credential.secret
    key = live.key if live else secret.get_secret_value() if secret else None
    if key is None:
        return {}
    return {"authorization": f"Bearer {key}"} if ticket.provider.api == "openai" else {"x-goog-api-key": key}


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _rebased(url: str, told: str, live: str) -> str:
    return live.rstrip("/") + url.removeprefix(told.rstrip("/"))


# What the wire said ------------------------------------------------------------------------------------------------


def _note_head(wire: Wire, response: httpx2.Response) -> None:
    wire.status = response.status_code
    wire.headers = {name: response.headers[name] for name in _TOLD_HEADERS if name in response.headers}


def _error(response: httpx2.Response, body: bytes, ticket: Ticket) -> httpx2.Response:
    """The same answer with its body read and decoded, without the key: some providers repeat it."""
    secret = ticket.credential.secret
    if secret is not None:
        body = body.replace(secret.get_secret_value().encode(), b"***")
    ticket.wire.first_byte_at = ticket.clock()
    ticket.wire.error_body = body[:_LONGEST_ERROR]
    kept = [(name, value) for name, value in response.headers.multi_items() if name not in _BODY_HEADERS]
    return httpx2.Response(response.status_code, headers=kept, content=body, extensions=response.extensions)


def _answer(request: object, response: httpx2.Response, ticket: Ticket) -> Any:
    """The response, in the family that the request came from."""
    stream = WatchedStream(response.stream, ticket)
    if isinstance(request, httpx2.Request):
        return httpx2.Response(
            response.status_code, headers=response.headers, stream=stream, extensions=response.extensions
        )
    return httpx.Response(
        response.status_code,
        headers=response.headers.multi_items(),
        stream=httpx_stream(stream, response.headers),
        extensions=response.extensions,
    )
