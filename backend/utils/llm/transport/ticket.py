"""The ticket of an attempt: its permission to send requests, its key, its deadlines, and what was observed.

LangChain and the SDKs change threads without the context, so a context variable cannot hold a request's
key. Instead, the number of the attempt's ticket travels with each request, through an SDK in a header.
"""

from __future__ import annotations

import secrets
from dataclasses import InitVar, dataclass, field
from itertools import count
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from typing_extensions import override

from ..forks import ForkSafe
from ..observed import ObservedExchange
from .redaction import NO_KEY, OVER
from .trust import HOUSE, STRANGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import SecretStr

    from ..errors import LLMError
    from ..model_config import Provider
    from ..types import KeyOwner
    from .redaction import KeyRedaction

LATE_SECONDS = 0.1
"""Seconds of a timer's delay from which on this process counts as late, because it was busy or stopped."""
LOOK_SECONDS = 0.25
"""Seconds that a late process may still use to read data that has arrived."""
TICKET_HEADER = "x-patchbay-ticket"


@dataclass(frozen=True)
class Credential:
    """An API key, and whether it is the house's or a user's. ``secret`` is None if the provider needs no key."""

    owner: KeyOwner
    secret: SecretStr | None


@dataclass(eq=False, repr=False)
class Ticket:
    """Permits one attempt to send requests to one provider with one key, and holds what the transport saw.

    A request names its ticket by the ticket's ``number``.

    Attributes:
        seconds: The timeout of the attempt, from the opening of the ticket.
        connect_seconds: The timeout of each step of connecting: DNS lookup, TCP and TLS.
        clock: The monotonic clock, in seconds.
        due: The deadline of the current wait, by ``clock``.
        observed: What the transport observed: times, status, headers, and any refusal.
        redaction: Removes the key from the provider's texts; removes all text once the ticket is closed.
    """

    number: str
    provider: Provider
    credential: Credential
    seconds: InitVar[float]
    connect_seconds: float
    clock: Callable[[], float]
    observed: ObservedExchange = field(default_factory=ObservedExchange)
    redaction: KeyRedaction = NO_KEY

    def __post_init__(self, seconds: float) -> None:
        self.trust = HOUSE if self.provider.network_policy is None else STRANGER
        self._began_at = self.clock()
        self._ends_at = self.due = self._began_at + seconds
        self._patience = seconds

    def set_timeout(self, seconds: float) -> None:
        """Change the timeout of the attempt to ``seconds``, counted from the opening of the ticket, not from now."""
        self._ends_at = self._began_at + seconds

    def limit_next_wait(self, seconds: float) -> None:
        """Limit the next wait for data to ``seconds`` from now, or to the attempt's timeout if that ends earlier."""
        self._patience = seconds
        self.due = min(self._ends_at, self.clock() + seconds)

    def restart_wait(self) -> None:
        """Restart the time limit of the current wait, because some data has arrived."""
        self.due = min(self._ends_at, self.clock() + self._patience)

    def extend_if_late(self) -> bool:
        """Extend a timed-out wait by `LOOK_SECONDS`, if it timed out because this process was busy or stopped.

        The extra time is for reading data that has arrived meanwhile. Returns whether the wait was extended.
        """
        now = self.clock()
        if now - self.due < LATE_SECONDS:
            return False
        self.observed.was_late = True
        self.due = now + LOOK_SECONDS
        self._ends_at = max(self._ends_at, self.due)
        return True

    def record_refusal(self, error: LLMError) -> LLMError:
        """Record ``error`` as the reason why the transport rejects the request or its answer, and return ``error``."""
        self.observed.refusal = error
        return error

    def refuse_answer(self, why: str) -> LLMError:
        """Record that the transport rejects the answer, and return the error to raise.

        ``why`` completes a sentence that begins with the provider's name, such as "sent more than 100 bytes".
        """
        who = "Your own endpoint" if self.provider.network_policy is not None else self.provider.name
        return self.record_refusal(self.trust.error(f"{who} {why}."))


class TicketRegistry(ForkSafe):
    """The open tickets of a process, by number. The transport sends a request only with an open ticket.

    A ticket that its attempt failed to close is closed when the attempt is garbage-collected.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._serial: Iterator[int] = count(1)
        super().__init__()

    @override
    def _begin(self) -> None:
        self._prefix = secrets.token_urlsafe(12)
        self._out: WeakValueDictionary[str, Ticket] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._out)

    def open(
        self, provider: Provider, credential: Credential, seconds: float, connect_seconds: float = 5.0
    ) -> Ticket:
        """Open a ticket: one attempt may send requests to ``provider`` with ``credential`` until `close` is called.

        ``seconds`` is the timeout of the attempt, ``connect_seconds`` that of each step of connecting.
        """
        number = f"{self._prefix}.{next(self._serial)}"
        ticket = Ticket(number, provider, credential, seconds, connect_seconds, self._clock)
        self._out[number] = ticket
        return ticket

    def find(self, number: str | None) -> Ticket | None:
        """Return the open ticket with this ``number``; None if there is none, or if ``number`` is None."""
        return self._out.get(number) if number else None

    def close(self, ticket: Ticket) -> None:
        """Close ``ticket``: requests that still carry its number are no longer sent."""
        self._out.pop(ticket.number, None)
        ticket.redaction = OVER
