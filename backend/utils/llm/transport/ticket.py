"""The ticket that travels with a request, and what the wire said to it.

LangChain and the SDKs hop threads without the context, so what a request may carry cannot live in a context variable
alone. A ticket is opened for one attempt, its number travels in a header, and the transport takes the header off.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Protocol

from typing_extensions import override

from ..forks import PerProcess
from ..observed import Observed
from .redaction import Redaction
from .trust import trust_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import SecretStr

    from ..errors import LLMError
    from ..model_config import Provider
    from ..types import KeyOwner

TICKET_HEADER = "x-patchbay-ticket"


@dataclass(frozen=True)
class Credential:
    """A secret with its owner. ``secret`` is None for a provider that needs no key."""

    owner: KeyOwner
    secret: SecretStr | None


class Ticket:
    """Leave for one attempt to send requests to one provider with one credential.

    Args:
        seconds: What the attempt may take from now on.
        connect_seconds: What its connection may take.
        clock: The monotonic clock, in seconds.
    """

    def __init__(
        self,
        number: str,
        provider: Provider,
        credential: Credential,
        *,
        seconds: float,
        connect_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self.number = number
        self.provider = provider
        self.trust = trust_in(provider.network_policy)
        self.credential = credential
        self.connect_seconds = connect_seconds
        self.clock = clock
        self.observed = Observed()
        self.redaction = Redaction(None)
        """Takes the key that went out with it out of what the provider says; everything, once the ticket is closed."""
        self.body: Body | None = None
        """The last answer's, once it comes. Some SDKs leave it open when they are left in its middle."""
        self._began_at = clock()
        self._ends_at = self._due = self._began_at + seconds
        self._patience = seconds

    def extend(self, seconds: float) -> None:
        """The attempt may take ``seconds`` in all, counted from its beginning."""
        self._ends_at = self._began_at + seconds

    def expect_within(self, seconds: float) -> None:
        """The next thing has to happen within ``seconds``, and within the attempt's time."""
        self._patience = seconds
        self.expect_more()

    def expect_more(self) -> None:
        """The next thing has as long again as this one had: there was a sign of life."""
        self._due = min(self._ends_at, self.clock() + self._patience)

    def left(self) -> float:
        """Seconds until the next thing is due; negative if it is late."""
        return self._due - self.clock()

    def refuse(self, error: LLMError) -> LLMError:
        """Note why the transport itself would not, and give it back to be raised."""
        self.observed.refusal = error
        return error

    def refuse_answer(self, why: str) -> LLMError:
        """The same of an answer that is not taken. Only whose fault it is depends on who sent it."""
        who = "Your own endpoint" if self.provider.network_policy is not None else self.provider.name
        return self.refuse(self.trust.error(f"{who} {why}."))


class TicketRegistry(PerProcess):
    """Hands out tickets and takes them back. A number that is not out admits nothing."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._serial: Iterator[int] = count(1)
        super().__init__()

    @override
    def _begin(self) -> None:
        self._prefix = secrets.token_urlsafe(12)
        self._out: dict[str, Ticket] = {}

    def __len__(self) -> int:
        return len(self._out)

    def open(
        self, provider: Provider, credential: Credential, seconds: float, connect_seconds: float = 5.0
    ) -> Ticket:
        """A new ticket, valid until `close`, for an attempt that may take ``seconds``."""
        ticket = Ticket(
            f"{self._prefix}.{next(self._serial)}",
            provider,
            credential,
            seconds=seconds,
            connect_seconds=connect_seconds,
            clock=self._clock,
        )
        self._out[ticket.number] = ticket
        return ticket

    def find(self, number: str | None) -> Ticket | None:
        """The ticket with that number, if it is out."""
        return self._out.get(number) if number else None

    def close(self, ticket: Ticket) -> None:
        """End the ticket: requests that still carry its number are refused."""
        self._out.pop(ticket.number, None)
        ticket.redaction.forget()


class Body(Protocol):
    """The body of an answer."""

    def close(self) -> None:
        """Give the connection back, or close it if something is left to read."""

    async def aclose(self) -> None:
        """As `close`."""


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
