"""The requests that a call may still send, and the steps of its loop: send, reserve, wait, ask a selector."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..routing.route import Candidate, Route
    from ..routing.selector import Choosing

LEAST_SECONDS = 0.05
"""With fewer seconds left of the deadline, no attempt is started."""


class PendingRequest(NamedTuple):
    """A request that a call may still send.

    Attributes:
        candidate: The endpoint and key.
        not_before: The earliest time to send it, in seconds of the monotonic clock.
        repair: Whether the request tells the model what was wrong with its last answer.
        is_retry: Whether the call has already tried the endpoint.
        on_loan: Whether the retry budget was empty, so that a retry must be borrowed from it before sending.
    """

    candidate: Candidate
    not_before: float = 0.0
    repair: bool = False
    is_retry: bool = False
    on_loan: bool = False


@dataclass(frozen=True)
class Try:
    """The step "send this request now".

    Attributes:
        candidate: The endpoint and key.
        seconds: The timeout of the request, which leaves time for other endpoints.
        most_seconds: The timeout after the first content of a stream was returned: no other endpoint can be
            tried then.
        route: The route of the call.
        number: A number that no other request of this process has.
        lost_at: When the request counts as lost if its end was not reported, in seconds of the monotonic
            clock.
        repair: Whether the request tells the model what was wrong with its last answer.
        probe: Whether it is the probe of a circuit breaker, for whose outcome other calls wait.
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
class ReserveThenTry:
    """The step "reserve budgets and shared rate limits for the request ``step``, then send it".

    Call `Dispatch.drop_over_budget` if a budget has not enough left, and `Dispatch.requeue` if a rate limit
    has no room.

    Attributes:
        step: The request to send after the reservation.
        pending: The same request as it was queued.
        place: Its index in the queue of requests that the call may still send.
    """

    step: Try
    pending: PendingRequest
    place: int


@dataclass(frozen=True)
class Wait:
    """The step "wait ``seconds``, then call `Dispatch.next_step` again"."""

    seconds: float


@dataclass(frozen=True)
class AskSelector:
    """The step "ask the application's selector ``selector`` which endpoint to try next".

    Pass the selector's result to `CustomDispatch.apply_choice`. ``choosing`` is the selector's input.
    """

    selector: str
    choosing: Choosing
