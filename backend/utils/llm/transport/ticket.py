"""The ticket that travels with a request, and what the wire said to it.

LangChain and the SDKs hop threads without the context, so what a request may carry cannot live in a context variable
alone. A ticket is opened for one attempt, its number travels in a header, and the transport takes the header off.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import SecretStr

    from ..caller import KeyOwner
    from ..errors import LLMError
    from ..model_config import Provider

TICKET_HEADER = "x-patchbay-ticket"


@dataclass(frozen=True)
class Credential:
    """A secret with its owner. ``secret`` is None for a provider that needs no key."""

    owner: KeyOwner
    secret: SecretStr | None


@dataclass
class Wire:
    """What the wire said during one attempt. Times are seconds of the monotonic clock.

    Attributes:
        requests: How many requests were sent; more than one means that something retried behind our back.
        status: The HTTP status, once headers arrived.
        error_code: The provider's own code of an error answer.
        headers: The answer's headers that say something about limits and identity.
        sent_at: When the request left.
        first_byte_at: When the answer's first byte arrived.
        bytes_sent: Length of the request's body.
        refusal: Why the transport itself did not send the request.
    """

    requests: int = 0
    status: int | None = None
    error_code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    sent_at: float | None = None
    first_byte_at: float | None = None
    bytes_sent: int = 0
    refusal: LLMError | None = None


@dataclass(frozen=True)
class Ticket:
    """Leave for one attempt to send requests to one provider with one credential.

    Attributes:
        ends_at: When the attempt's time is up, in seconds of the monotonic clock.
    """

    number: str
    provider: Provider
    credential: Credential
    ends_at: float
    wire: Wire = field(default_factory=Wire)


class TicketDesk:
    """Hands out tickets and takes them back. A number that is not out admits nothing."""

    def __init__(self) -> None:
        self._prefix = secrets.token_urlsafe(12)
        self._serial: Iterator[int] = count(1)
        self._out: dict[str, Ticket] = {}

    def __len__(self) -> int:
        return len(self._out)

    def open(self, provider: Provider, credential: Credential, seconds: float) -> Ticket:
        """A new ticket, valid until `close`, for an attempt that may take ``seconds``."""
        number = f"{self._prefix}.{next(self._serial)}"
        ticket = Ticket(number, provider, credential, time.monotonic() + seconds)
        self._out[ticket.number] = ticket
        return ticket

    def find(self, number: str | None) -> Ticket | None:
        """The ticket with that number, if it is out."""
        return self._out.get(number) if number else None

    def close(self, ticket: Ticket) -> None:
        """End the ticket: requests that still carry its number are refused."""
        self._out.pop(ticket.number, None)


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
