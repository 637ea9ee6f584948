"""Sign each request with its attempt's credential, and note what the observed said.

This is the one place that reads a secret. It fails closed: a request without a ticket, or bound for another origin than
its ticket's provider, is not sent.
"""

from __future__ import annotations

import asyncio
import time
from functools import lru_cache, partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..caller import without_caller
from ..errors import (
    CredentialNotAllowedError,
    OwnEndpointError,
    ProviderDownError,
    WithheldCredentialError,
)
from .clocks import in_time, in_time_here
from .exchange import AsyncReply, Reply, Request
from .pools import Pools
from .redaction import Redaction
from .resolver import ForbiddenAddressError
from .streams import LONGEST_ERROR, AsyncBody, Body
from .ticket import TICKET_HEADER, TicketRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..errors import LLMError
    from ..network_policy import NetworkPolicy
    from .ticket import Address, LiveAddress, Ticket

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
_FIRST_ERROR = 400
_TOLD_HEADERS = ("retry-after", "retry-after-ms", "x-should-retry", "x-request-id", "content-type")
"""What is kept of an answer's headers, and all that is handed on of them."""
_TOLD_BY_ERRORS = (
    *_TOLD_HEADERS,
    "x-ms-retry-after-ms",
    *(f"x-ratelimit-{what}{of}" for what in ("reset", "remaining") for of in ("", "-requests", "-tokens")),
    *(
        f"anthropic-ratelimit-{of}-{what}"
        for what in ("reset", "remaining")
        for of in ("requests", "tokens", "input-tokens", "output-tokens")
    ),
)
"""An error's tell besides which limit is used up, and until when."""


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

    def send(self, number: str | None, request: Request) -> Reply:
        """Sign ``request`` with the credential of the ticket with that number, and send it, from a thread.

        Raises:
            LLMError: It was not sent.
            httpx2.TransportError: No answer came.
        """
        ticket = self._admit(number, request.url)
        signed = self._signed(request, ticket, self._wait_for(ticket))
        left = max(0.0, ticket.left())
        # Reading and writing go by the ticket's clocks, which move while the answer comes.
        waits = {"connect": min(left, ticket.connect_seconds), "pool": left}
        with in_time_here(ticket):
            try:
                response = self.pools.send(signed, waits, ticket.provider.network_policy)
            except ForbiddenAddressError:
                raise _forbidden(ticket) from None
            _note_head(ticket, response.status_code, response.headers)
            if ticket.observed.has_succeeded:
                return Reply(response.status_code, ticket.observed.headers, body=Body(response, ticket))
            content = _noted_error(ticket, Body(response, ticket).beginning())
        return Reply(response.status_code, ticket.observed.headers, content)

    async def asend(self, number: str | None, request: Request) -> AsyncReply:
        """As `send`, from an event loop."""
        ticket = self._admit(number, request.url)
        signed = self._signed(request, ticket, await self._await(ticket))
        return await without_caller(in_time(ticket, partial(self._exchange, signed, ticket)))

    async def _exchange(self, signed: Request, ticket: Ticket) -> AsyncReply:
        pool = await self.pools.for_this_loop(ticket.provider.network_policy)
        try:
            response = await pool.send(signed, ticket.connect_seconds)
        except ForbiddenAddressError:
            raise _forbidden(ticket) from None
        _note_head(ticket, response.status, response.headers)
        if ticket.observed.has_succeeded:
            return AsyncReply(response.status, ticket.observed.headers, body=AsyncBody(response, ticket))
        content = _noted_error(ticket, await AsyncBody(response, ticket).beginning())
        return AsyncReply(response.status, ticket.observed.headers, content)

    # Admission -----------------------------------------------------------------------------------------------------

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

    def _source(self, ticket: Ticket) -> LiveAddress | None:
        if ticket.provider.access != "embedded":
            return None
        try:
            return self._live[ticket.provider.name]
        except KeyError:
            raise ticket.refuse(
                ProviderDownError(
                    f"The embedded provider {ticket.provider.name!r} is not running in this process. "
                    "Set a cloud provider's key, or pass a running one: Patchbay(live={…})."
                )
            ) from None

    def _wait_for(self, ticket: Ticket) -> Address | None:
        source = self._source(ticket)
        if source is None:
            return None
        try:
            return source.current() or source.address(min(START_SECONDS, max(0.0, ticket.left())))
        except Exception as error:
            raise ticket.refuse(ProviderDownError(str(error))) from error

    async def _await(self, ticket: Ticket) -> Address | None:
        source = self._source(ticket)
        if source is None or (now := source.current()) is not None:
            return None if source is None else now
        return await asyncio.to_thread(self._wait_for, ticket)

    # Signature -----------------------------------------------------------------------------------------------------

    def _signed(self, request: Request, ticket: Ticket, live: Address | None) -> Request:
        """The request as it goes out. A new one: what an SDK holds, and might follow a redirect with, has no key."""
        headers = {name: value for name, value in request.headers.items() if name not in _NOT_SENT}
        headers["accept-encoding"] = ticket.trust.accepted_encoding
        headers.update(ticket.provider.headers)
        key = live.key if live else _key(ticket)
        ticket.redaction = Redaction(key)
        headers.update(_signature(ticket, key))
        url = _rebased(request.url, ticket.provider.base_url, live.base_url) if live else request.url
        ticket.observed.requests += 1
        ticket.observed.bytes_sent = len(request.content)
        ticket.observed.sent_at = ticket.clock()
        return Request(url, headers, request.content, request.method)


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


def _signature(ticket: Ticket, key: str | None) -> dict[str, str]:
    if key is None:
        return {}
    return {"authorization": f"Bearer {key}"} if ticket.provider.api == "openai" else {"x-goog-api-key": key}


def _key(ticket: Ticket) -> str | None:
    secret = ticket.credential.secret
    try:
        return None if secret is None else secret.get_secret_value()
    except WithheldCredentialError as error:
        raise ticket.refuse(error) from None


@lru_cache(maxsize=1024)
def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _rebased(url: str, told: str, live: str) -> str:
    return live.rstrip("/") + url.removeprefix(told.rstrip("/"))


# What the observed said ------------------------------------------------------------------------------------------------


def _note_head(ticket: Ticket, status: int, headers: Mapping[str, str]) -> None:
    observed, label = ticket.observed, ticket.redaction.label
    observed.status = status
    told = _TOLD_HEADERS if status < _FIRST_ERROR else _TOLD_BY_ERRORS
    observed.headers = {name: label(headers[name]) for name in told if name in headers}
    if media_type := observed.headers.get("content-type"):
        # Without its charset, which could say that a text is another one.
        observed.headers["content-type"] = media_type.partition(";")[0]


def _noted_error(ticket: Ticket, body: bytes) -> bytes:
    """What is handed on of the body of an error answer, which does not repeat the key.

    Of an endpoint that a user named nothing is. What it says could be another service's of the house.
    """
    observed, told = ticket.observed, ticket.redaction.of_body(body, is_cut=len(body) >= LONGEST_ERROR)
    observed.first_byte_at = ticket.clock()
    observed.error_body = told
    return told if ticket.trust.tells_errors else b""
