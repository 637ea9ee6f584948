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
        repair: Whether it tells the model what was wrong with its last answer.
        is_retry: Whether the call has already tried the endpoint.
        on_loan: Whether it is a retry that must be borrowed, because the retry budget was empty.
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
        most_seconds: The timeout once a stream's first content was returned, because no other endpoint can
            be tried then.
        route: The route of the call.
        number: The request's number, unique in this process.
        lost_at: The time, by the monotonic clock, from which the request counts as lost if it has not ended.
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

    If a budget has not enough left, call `Dispatch.drop_over_budget`; if a rate limit has not,
    `Dispatch.requeue_request`.

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
    """The step "ask the application's selector named ``selector`` which endpoint to try next".

    ``choosing`` is the selector's input. Pass the selector's result to `SelectorDispatch.apply_choice`.
    """

    selector: str
    choosing: Choosing
