"""What may still be sent, and what a dispatch can say: send, reserve, wait, or ask somebody who knows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..routing.route import Candidate, Route
    from ..routing.selector import Choosing

LEAST_SECONDS = 0.05
"""With less than this left of the deadline, no attempt is started."""


class Pending(NamedTuple):
    """A request that may still be sent.

    Attributes:
        not_before: In seconds of the monotonic clock.
        repair: Whether the last answer's fault is fed back.
        is_retry: Whether the endpoint was asked before.
        on_loan: Whether the retry is still to be granted: there was none left when it was wanted.
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
        seconds: The most that it may take, so that there is time for the endpoints that are left.
        most_seconds: The most that it may take once they do not matter any more: part of its answer was handed on.
        route: Of the call.
        number: What no other request of this process has.
        lost_at: When it counts as over if nothing was told of it, in seconds of the monotonic clock.
        repair: Feed the last answer's fault back.
        probe: Others wait for its outcome.
        hedge: It goes out beside the first request, which has taken too long.
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
    """Send ``step`` once what it could use is set aside in the stores that count it.

    Tell `Dispatch.decline` if a budget is too small for it, and `Dispatch.put_back` if a limit has no room for it yet.

    Attributes:
        pending: What it was before, and ``place`` where it stood among what may still be sent.
    """

    step: Try
    pending: Pending
    place: int


@dataclass(frozen=True)
class Wait:
    """Let ``seconds`` pass, then ask again."""

    seconds: float


@dataclass(frozen=True)
class Consult:
    """Consult the selector called ``selector``, and tell `Dispatch.choose` what it says."""

    selector: str
    choosing: Choosing
