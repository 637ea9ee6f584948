"""Sign each request with its attempt's credential, send it, and note what the response's head says.

This is the one place that reads a secret. It fails closed: a request without a ticket, or bound for another origin than
its ticket's provider, is not sent.
"""

from __future__ import annotations

import asyncio
import time
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from ..caller import context_without_caller, without_caller
from ..errors import (
    CredentialNotAllowedError,
    OwnEndpointError,
    ProviderDownError,
    WithheldCredentialError,
)
from ..observed import ERROR_STATUS
from .connections import Pools, Request, in_time
from .redaction import Redaction
from .resolver import ForbiddenAddressError
from .response import LONGEST_ERROR, AsyncResponse, Response
from .ticket import TICKET_HEADER, TicketRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..errors import LLMError
    from ..network_policy import NetworkPolicy
    from .connections import Arrival
    from .ticket import Ticket

START_SECONDS = 60.0
"""How long a request that comes early waits for an embedded provider to be ready."""
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
_NOT_SENT = frozenset({*_IDENTITY_HEADERS, "accept-encoding", "content-length", "host", "transfer-encoding"})
_KEPT_HEADERS = ("retry-after", "retry-after-ms", "x-should-retry", "x-request-id", "content-type")
"""What is kept of an answer's headers, and all that is handed on of them."""
_KEPT_OF_ERRORS = (
    *_KEPT_HEADERS,
    "x-ms-retry-after-ms",
    *(f"x-ratelimit-{what}{of}" for what in ("reset", "remaining") for of in ("", "-requests", "-tokens")),
    *(
        f"anthropic-ratelimit-{of}-{what}"
        for what in ("reset", "remaining")
        for of in ("requests", "tokens", "input-tokens", "output-tokens")
    ),
)
"""An error's tell besides which limit is used up, and until when."""
_CLIENT_ERROR = 400


class Address(Protocol):
    """Where an embedded provider listens, and the secret that it wants."""

    @property
    def base_url(self) -> str:
        """Its address, as a client's base URL."""

    @property
    def key(self) -> str:
        """Its secret."""


class LiveAddress(Protocol):
    """An embedded provider: a process whose address is known only while it runs."""

    def current(self) -> Address | None:
        """The address, if it is ready now."""

    def address(self, timeout: float) -> Address:
        """The address, waiting up to ``timeout`` seconds for it; raises with a reason that a person can act on."""


class SigningTransport:
    """The transport under every chat client.

    Args:
        live: Embedded providers by name; they tell their address and secret themselves.
        clock: The monotonic clock, in seconds.
    """

    def __init__(
        self, live: Mapping[str, LiveAddress] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.tickets = TicketRegistry(clock)
        self.pools = Pools()
        self._live = dict(live or {})

    def send(self, number: str | None, request: Request) -> Response:
        """Sign ``request`` with the credential of the ticket with that number, and send it, from a thread.

        Raises:
            LLMError: It was not sent.
            httpx2.TransportError: No answer came.
        """
        ticket = self._admit(number, request.url)
        address = self._address(ticket) if ticket.provider.access == "embedded" else None
        signed = _signed(request, ticket, address)
        try:
            arrival = self.pools.send(signed, ticket)
        except ForbiddenAddressError:
            raise _forbidden(ticket) from None
        _note_head(ticket, arrival)
        response = Response(arrival, ticket)
        if arrival.status >= ERROR_STATUS:
            response.content = _noted_error(ticket, response.read(LONGEST_ERROR))
        return response

    async def asend(self, number: str | None, request: Request) -> AsyncResponse:
        """As `send`, from an event loop."""
        ticket = self._admit(number, request.url)
        address = await self._aaddress(ticket) if ticket.provider.access == "embedded" else None
        signed = _signed(request, ticket, address)
        context = context_without_caller()
        try:
            arrival = await without_caller(
                in_time(ticket, partial(self.pools.asend, signed, ticket)), context
            )
        except ForbiddenAddressError:
            raise _forbidden(ticket) from None
        _note_head(ticket, arrival)
        response = AsyncResponse(arrival, ticket, context)
        if arrival.status >= ERROR_STATUS:
            response.content = _noted_error(ticket, await response.read(LONGEST_ERROR))
        return response

    def _admit(self, number: str | None, url: str) -> Ticket:
        ticket = self.tickets.find(number)
        if ticket is None:
            raise CredentialNotAllowedError("A request without a running attempt was not sent.")
        if _origin(url) != _origin(ticket.provider.base_url):
            raise ticket.refuse(
                CredentialNotAllowedError(
                    f"A request bound for another host than {ticket.provider.name}'s was not sent."
                )
            )
        if ticket.provider.network_policy is not None:
            _admit_there(ticket, ticket.provider.network_policy)
        return ticket

    def _address(self, ticket: Ticket) -> Address:
        try:
            source = self._live[ticket.provider.name]
        except KeyError:
            raise ticket.refuse(
                ProviderDownError(
                    f"The embedded provider {ticket.provider.name!r} is not running in this process. "
                    "Set a cloud provider's key, or pass a running one: Patchbay(live={…})."
                )
            ) from None
        try:
            return source.current() or source.address(min(START_SECONDS, max(0.0, ticket.left())))
        except Exception as error:
            raise ticket.refuse(ProviderDownError(str(error))) from error

    async def _aaddress(self, ticket: Ticket) -> Address:
        source = self._live.get(ticket.provider.name)
        address = source.current() if source is not None else None
        return await asyncio.to_thread(self._address, ticket) if address is None else address


def _admit_there(ticket: Ticket, policy: NetworkPolicy) -> None:
    """Let no key but a user's go where a user says; and nothing to an address that is forbidden as it is written.

    A host that is an address is not looked up, so that it would not be tested there.
    """
    if ticket.credential.owner != "user" or ticket.credential.secret is None:
        raise ticket.refuse(
            CredentialNotAllowedError(
                "A request to a user's own endpoint without a key of theirs was not sent."
            )
        )
    if policy.fault(ticket.provider.base_url) is not None:
        raise _forbidden(ticket)


def _forbidden(ticket: Ticket) -> LLMError:
    return ticket.refuse(
        OwnEndpointError("Your own endpoint was not asked: it is where you may not have one.")
    )


@lru_cache(maxsize=1024)
def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)


# Signature -----------------------------------------------------------------------------------------------------------


def _signed(request: Request, ticket: Ticket, live: Address | None) -> Request:
    """The request as it goes out. A new one: what an SDK holds, and might follow a redirect with, has no key."""
    provider, observed = ticket.provider, ticket.observed
    key = live.key if live else _key(ticket)
    ticket.redaction = Redaction(key)
    headers = {name: value for name, value in request.headers.items() if name not in _NOT_SENT}
    headers["accept-encoding"] = ticket.trust.accept_encoding
    headers.update(provider.headers)
    if key is not None and provider.api == "openai":
        headers["authorization"] = f"Bearer {key}"
    elif key is not None:
        headers["x-goog-api-key"] = key
    url = request.url
    if live:
        url = live.base_url.rstrip("/") + url.removeprefix(provider.base_url.rstrip("/"))
    observed.requests += 1
    observed.bytes_sent = len(request.content)
    observed.sent_at = ticket.clock()
    return Request(url, headers, request.content, request.method)


def _key(ticket: Ticket) -> str | None:
    secret = ticket.credential.secret
    try:
        return None if secret is None else secret.get_secret_value()
    except WithheldCredentialError as error:
        raise ticket.refuse(error) from None


# What the response says ----------------------------------------------------------------------------------------------


def _note_head(ticket: Ticket, arrival: Arrival[object]) -> None:
    headers = arrival.headers
    names = _KEPT_HEADERS if arrival.status < _CLIENT_ERROR else _KEPT_OF_ERRORS
    kept = ticket.redaction.labels({name: headers[name] for name in names if name in headers})
    if "content-type" in kept:
        # Without its charset, which could say that a text is another one.
        kept["content-type"] = kept["content-type"].partition(";")[0]
    ticket.observed.status, ticket.observed.headers = arrival.status, kept


def _noted_error(ticket: Ticket, body: bytes) -> bytes:
    """What is handed on of the body of an error answer, which does not repeat the key.

    Of an endpoint that a user named nothing is. What it says could be another service's of the house.
    """
    shown = ticket.redaction.of_body(body, is_cut=len(body) >= LONGEST_ERROR)
    ticket.observed.first_byte_at, ticket.observed.error_body = ticket.clock(), shown
    return shown if ticket.trust.tells_errors else b""
