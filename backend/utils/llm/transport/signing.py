"""Adds the attempt's API key to each request, and sends the request.

No other module reads a key. A request needs an open ticket, and is sent only to that ticket's provider.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..caller import await_without_caller
from ..errors import (
    CredentialNotAllowedError,
    OwnEndpointError,
    WithheldCredentialError,
)
from ..observed import ERROR_STATUS
from .connections import ConnectionPools
from .live import ProviderAddressFinder
from .redaction import KeyRedaction
from .request import Request
from .resolver import ForbiddenAddressError
from .ticket import TICKET_HEADER, TicketRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..errors import LLMError
    from ..network_policy import NetworkPolicy
    from ..options import Api
    from .live import AddressSource, ProviderAddress
    from .response import AsyncResponse, Response
    from .ticket import Ticket

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
_SIGNED: Mapping[Api, tuple[str, str]] = {
    "openai": ("authorization", "Bearer "),
    "gemini": ("x-goog-api-key", ""),
    "anthropic": ("x-api-key", ""),
}
"""Each API's header that holds the key, and what stands before it there."""
_OF_AZURE = ("api-key", "")
"""The same of Azure, which serves several APIs."""


class SigningTransport:
    """The transport of all chat clients: adds the attempt's API key to a request, and sends it.

    Args:
        live: The address sources of providers whose address is known only while they run, by provider name.
        clock: The monotonic clock, in seconds.
    """

    def __init__(
        self, live: Mapping[str, AddressSource] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.tickets = TicketRegistry(clock)
        self.pools = ConnectionPools()
        self._live = ProviderAddressFinder(live or {})

    def send(self, ticket_number: str | None, request: Request) -> Response:
        """Send ``request`` with the key of the given ticket, and block until the response's headers arrive.

        Raises:
            LLMError: The request was not sent, such as without an open ticket; or an error's body is too large.
            httpx2.TransportError: No answer arrived.
        """
        ticket = self._admit(ticket_number, request.url)
        provider = ticket.provider
        is_live = provider.access == "embedded" or provider.name in self._live.names
        address = self._live.find_address(ticket) if is_live else None
        signed = _signed(request, ticket, address)
        try:
            response = self.pools.send(signed, ticket)
        except ForbiddenAddressError:
            raise _forbidden(ticket) from None
        if response.status >= ERROR_STATUS:
            response.read_error()
        return response

    async def asend(self, ticket_number: str | None, request: Request) -> AsyncResponse:
        """Asynchronous version of `send`."""
        ticket = self._admit(ticket_number, request.url)
        provider = ticket.provider
        is_live = provider.access == "embedded" or provider.name in self._live.names
        address = await self._live.afind_address(ticket) if is_live else None
        signed = _signed(request, ticket, address)
        try:
            pool = await self.pools.get_loop_pool(provider.network_policy)
            response = await await_without_caller(pool.send(signed, ticket))
        except ForbiddenAddressError:
            raise _forbidden(ticket) from None
        if response.status >= ERROR_STATUS:
            await response.read_error()
        return response

    def _admit(self, number: str | None, url: str) -> Ticket:
        ticket = self.tickets.find(number)
        if ticket is None:
            raise CredentialNotAllowedError("A request without a running attempt was not sent.")
        if _origin(url) != _origin(ticket.provider.base_url):
            raise ticket.record_refusal(
                CredentialNotAllowedError(
                    f"A request bound for another host than {ticket.provider.name}'s was not sent."
                )
            )
        if ticket.provider.network_policy is not None:
            _check_own_endpoint(ticket, ticket.provider.network_policy)
        return ticket


def _check_own_endpoint(ticket: Ticket, policy: NetworkPolicy) -> None:
    """Refuse a request to a user's own endpoint without the user's key, or to a forbidden IP address.

    The resolver checks names, but a host that is an IP address is never resolved.
    """
    if ticket.credential.owner != "user" or ticket.credential.secret is None:
        raise ticket.record_refusal(
            CredentialNotAllowedError(
                "A request to a user's own endpoint without a key of theirs was not sent."
            )
        )
    if policy.find_url_problem(ticket.provider.base_url) is not None:
        raise _forbidden(ticket)


def _forbidden(ticket: Ticket) -> LLMError:
    return ticket.record_refusal(
        OwnEndpointError("Your own endpoint was not asked: it is where you may not have one.")
    )


@lru_cache(maxsize=1024)
def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)


# Signature -----------------------------------------------------------------------------------------------------------


def _signed(request: Request, ticket: Ticket, live: ProviderAddress | None) -> Request:
    """A copy of ``request`` with the key in its headers. The SDK's own request never has it, so that no redirect carries it."""
    provider, observed = ticket.provider, ticket.observed
    key = (live.key if live else None) or _key(ticket)
    ticket.redaction = KeyRedaction(key)
    headers = {name: value for name, value in request.headers.items() if name not in _NOT_SENT}
    headers["accept-encoding"] = ticket.trust.accept_encoding
    headers.update(provider.headers)
    if key is not None:
        name, before = _OF_AZURE if provider.vendor.name == "azure" else _SIGNED[provider.api]
        headers[name] = before + key
    url = request.url
    if live:
        url = live.base_url.rstrip("/") + url.removeprefix(provider.base_url.rstrip("/"))
    observed.body_sent = request.content
    observed.sent_at = ticket.clock()
    return Request(url, headers, request.content, request.method)


def _key(ticket: Ticket) -> str | None:
    secret = ticket.credential.secret
    try:
        return None if secret is None else secret.get_secret_value()
    except WithheldCredentialError as error:
        raise ticket.record_refusal(error) from None
