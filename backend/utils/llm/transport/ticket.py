"""The ticket that travels with a request: the attempt under way, its clocks, and what was observed of it.

LangChain and the SDKs hop threads without the context, so what a request may carry cannot live in a context variable
alone. A ticket is opened for one attempt, and its number travels with the request: in a header, if an SDK sends it.
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
"""From then on a clock's late call is our own lateness: the loop was busy, or the process was stopped."""
LOOK_SECONDS = 0.25
"""How long what has come meanwhile is looked for then."""
TICKET_HEADER = "x-patchbay-ticket"


@dataclass(frozen=True)
class Credential:
    """A secret with its owner. ``secret`` is None for a provider that needs no key."""

    owner: KeyOwner
    secret: SecretStr | None


@dataclass(eq=False, repr=False)
class Ticket:
    """Leave for one attempt to send requests to one provider with one credential, and what was observed of them.

    Attributes:
        seconds: What the attempt may take from now on.
        connect_seconds: What each step of connecting may take: to look the host up, to reach it, to encrypt.
        clock: The monotonic clock, in seconds.
        due: When the next thing has to have happened, by the clock.
        redaction: Takes the key that went out with it out of what the provider says; everything, once it is closed.
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
        """Give the attempt ``seconds`` in all, counted from its beginning."""
        self._ends_at = self._began_at + seconds

    def expect_within(self, seconds: float) -> None:
        """Expect the next thing within ``seconds``, and within the attempt's time."""
        self._patience = seconds
        self.due = min(self._ends_at, self.clock() + seconds)

    def expect_more(self) -> None:
        """Expect the next thing within as many seconds again: there was a sign of life."""
        self.due = min(self._ends_at, self.clock() + self._patience)

    def looks_again(self) -> bool:
        """Whether time is up only because this process was late; then what has arrived meanwhile may still be read."""
        now = self.clock()
        if now - self.due < LATE_SECONDS:
            return False
        self.observed.was_late = True
        self.due = now + LOOK_SECONDS
        self._ends_at = max(self._ends_at, self.due)
        return True

    def refuse(self, error: LLMError) -> LLMError:
        """Note why the transport itself would not, and give it back to be raised."""
        self.observed.refusal = error
        return error

    def refuse_answer(self, why: str) -> LLMError:
        """As `refuse`, of an answer that is not taken. Whose fault that is depends on who sent it."""
        who = "Your own endpoint" if self.provider.network_policy is not None else self.provider.name
        return self.refuse(self.trust.error(f"{who} {why}."))


class TicketRegistry(PerProcess):
    """Hands out tickets and takes them back. A number that is not out admits nothing.

    A ticket is out no longer than its attempt holds it, even if an exception from outside keeps that from closing it.
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
        """A new ticket, valid until `close`, for an attempt that may take ``seconds``."""
        number = f"{self._prefix}.{next(self._serial)}"
        ticket = Ticket(number, provider, credential, seconds, connect_seconds, self._clock)
        self._out[number] = ticket
        return ticket

    def find(self, number: str | None) -> Ticket | None:
        """The ticket with that number, if it is out."""
        return self._out.get(number) if number else None

    def close(self, ticket: Ticket) -> None:
        """End the ticket: requests that still carry its number are refused."""
        self._out.pop(ticket.number, None)
        ticket.redaction = OVER
