"""The requests that a call may still send, and the next steps of a dispatch: send, reserve, wait, ask a selector."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..routing.route import Candidate, Route
    from ..routing.selector import Choosing

LEAST_SECONDS = 0.05
"""With fewer seconds left of the deadline, no attempt is started."""


class Pending(NamedTuple):
    """A request that may still be sent.

    Attributes:
        not_before: The earliest time to send it, in seconds of the monotonic clock.
        repair: Whether the request tells the model what was wrong with the last answer.
        is_retry: Whether the call has tried the endpoint before.
        on_loan: Whether the retry budget was empty, so that the retry must be granted, as a loan, before it is sent.
    """

    candidate: Candidate
    not_before: float = 0.0
    repair: bool = False
    is_retry: bool = False
    on_loan: bool = False


@dataclass(frozen=True)
class Try:
    """Send a request now.

    Attributes:
        seconds: The most that it may take, so that there is time left for other endpoints.
        most_seconds: The most that it may take once part of its answer was returned, so that no other can be tried.
        route: The route of the call.
        number: A number that no other request of this process has.
        lost_at: When the request counts as lost if its end was not reported, in seconds of the monotonic clock.
        repair: Whether the request tells the model what was wrong with the last answer.
        probe: Whether it is the probe of a circuit breaker, whose outcome other calls wait for.
        hedge: Whether it is a hedge, sent while the first request is in flight.
    """

    candidate: Candidate
    seconds: float
    most_seconds: float
    route: Route = field(repr=False, compare=False)
    number: int = field(repr=False, compare=False)
    lost_at: float = field(repr=False, compare=False)
    repair: bool = False
    probe: bool = False
    hedge: bool = False


@dataclass(frozen=True)
class Reserve:
    """Send ``step`` once the most that it could use is reserved in the stores of budgets and shared limits.

    Call `Dispatch.decline` if a budget has no room for it, and `Dispatch.put_back` if a limit has none yet.

    Attributes:
        pending: The request before it was chosen, and ``place`` its index among those that may still be sent.
    """

    step: Try
    pending: Pending
    place: int


@dataclass(frozen=True)
class Wait:
    """Wait ``seconds``, then call `Dispatch.next` again."""

    seconds: float


@dataclass(frozen=True)
class Consult:
    """Call the selector named ``selector``, and pass its result to `CustomDispatch.choose`."""

    selector: str
    choosing: Choosing
