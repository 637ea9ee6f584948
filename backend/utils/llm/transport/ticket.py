"""The ticket that travels with a request: the attempt in flight, its deadlines, and its observations.

LangChain and the SDKs change threads without the context, so a context variable alone cannot hold a request's credential.
A ticket is opened for one attempt, and its number travels with the request: in a header, if an SDK sends it.
"""

from __future__ import annotations

import secrets
from dataclasses import InitVar, dataclass, field
from itertools import count
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from typing_extensions import override

from ..forks import PerProcess
from ..observed import Observed
from .redaction import NO_KEY, OVER
from .trust import HOUSE, STRANGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import SecretStr

    from ..errors import LLMError
    from ..model_config import Provider
    from ..types import KeyOwner
    from .redaction import Redaction

LATE_SECONDS = 0.1
"""Seconds of a timer's delay from which on this process counts as late, because it was busy or stopped."""
LOOK_SECONDS = 0.25
"""Seconds that a late process may still use to read data that has arrived."""
TICKET_HEADER = "x-patchbay-ticket"


@dataclass(frozen=True)
class Credential:
    """A secret and its owner. ``secret`` is None for a provider that needs no key."""

    owner: KeyOwner
    secret: SecretStr | None


@dataclass(eq=False, repr=False)
class Ticket:
    """Permits one attempt to send requests to one provider with one credential, and holds what the transport observed.

    The transport finds it by its ``number``, which travels with each request.

    Attributes:
        seconds: The timeout of the attempt, from the opening of the ticket.
        connect_seconds: The timeout of each step of connecting: DNS lookup, TCP and TLS.
        clock: The monotonic clock, in seconds.
        due: The deadline of the current wait, by ``clock``.
        redaction: Removes the key from the provider's texts; removes everything once the ticket is closed.
    """

    number: str
    provider: Provider
    credential: Credential
    seconds: InitVar[float]
    connect_seconds: float
    clock: Callable[[], float]
    observed: Observed = field(default_factory=Observed)
    redaction: Redaction = NO_KEY

    def __post_init__(self, seconds: float) -> None:
        self.trust = HOUSE if self.provider.network_policy is None else STRANGER
        self._began_at = self.clock()
        self._ends_at = self.due = self._began_at + seconds
        self._patience = seconds

    def extend(self, seconds: float) -> None:
        """Set the attempt's timeout to ``seconds`` from its beginning, not from now."""
        self._ends_at = self._began_at + seconds

    def expect_within(self, seconds: float) -> None:
        """Set the deadline of the next wait to ``seconds`` from now, but not beyond the end of the attempt."""
        self._patience = seconds
        self.due = min(self._ends_at, self.clock() + seconds)

    def expect_more(self) -> None:
        """Restart the deadline of the current wait, because some data has arrived."""
        self.due = min(self._ends_at, self.clock() + self._patience)

    def looks_again(self) -> bool:
        """Whether a wait gets a moment more, because the deadline passed only while this process was busy or stopped.

        If so, the deadline is `LOOK_SECONDS` from now, for data that has arrived already.
        """
        now = self.clock()
        if now - self.due < LATE_SECONDS:
            return False
        self.observed.was_late = True
        self.due = now + LOOK_SECONDS
        self._ends_at = max(self._ends_at, self.due)
        return True

    def refuse(self, error: LLMError) -> LLMError:
        """Record ``error`` as the reason why the transport did not send the request, and return it to be raised."""
        self.observed.refusal = error
        return error

    def refuse_answer(self, why: str) -> LLMError:
        """Record ``why`` the transport rejects an answer, and return the error to raise, whose type depends on `Trust`."""
        who = "Your own endpoint" if self.provider.network_policy is not None else self.provider.name
        return self.refuse(self.trust.error(f"{who} {why}."))


class TicketRegistry(PerProcess):
    """The open tickets, by number: the transport sends a request only if the number it carries is here.

    A ticket is open only while its attempt holds it, even if an exception from outside keeps the attempt from closing
    it.
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
        """Open a ticket for one attempt with a timeout of ``seconds``; it permits requests until `close`."""
        number = f"{self._prefix}.{next(self._serial)}"
        ticket = Ticket(number, provider, credential, seconds, connect_seconds, self._clock)
        self._out[number] = ticket
        return ticket

    def find(self, number: str | None) -> Ticket | None:
        """The open ticket ``number``; None without a number, or if its ticket is closed or unknown."""
        return self._out.get(number) if number else None

    def close(self, ticket: Ticket) -> None:
        """Close the ticket: requests that still carry its number are refused."""
        self._out.pop(ticket.number, None)
        ticket.redaction = OVER
