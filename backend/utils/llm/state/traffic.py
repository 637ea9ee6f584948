"""All of it together, for one process, behind one lock."""

from __future__ import annotations

import random as chance
import threading
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from typing_extensions import override

from ..forks import PerProcess
from .experiments import Experiments
from .load import Targets
from .quality_scores import QualityScores
from .rate_limiter import RateLimiter
from .session_affinity import SessionAffinity
from .tail_latency import HedgeBudget, TailLatency
from .weighted_round_robin import WeightedRoundRobin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .load import Target, Timed
    from .rate_limiter import Meter

GRACE_SECONDS = 5.0
"""A request of which nothing is told counts as over so many seconds after its time was up."""


class Reservation(NamedTuple):
    """One request under way, what was set aside for it, and when, in seconds since the epoch."""

    number: int
    target: Target
    meters: Sequence[Meter]
    tokens: int
    timed: Timed
    taken: float


class Sent(NamedTuple):
    """How a request went.

    Attributes:
        seconds: What it took to answer, or to fail: to the first token of a stream.
        tokens: What it used; None if nobody said.
        is_known_unused: Whether it certainly used no tokens.
    """

    seconds: float
    tokens: int | None = None
    is_known_unused: bool = False


def _now() -> datetime:
    return datetime.now(UTC)


class Traffic(PerProcess):
    """What goes on in this process. Hold ``lock`` to choose and begin in one step; single methods take it themselves.

    A forked child begins with none: nothing that its parent set aside is ever given back there, and of what changes in
    several steps it may have got a half.

    Args:
        clock: The monotonic clock, in seconds.
        now: The wall clock.
        random: From 0 up to, not including, 1.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        now: Callable[[], datetime] = _now,
        random: Callable[[], float] = chance.random,
    ) -> None:
        self.clock = clock
        self._now = now
        self._random = random
        self._numbers = count(1)  # a forked child counts on: what its parent began is nothing of its own
        super().__init__()

    @override
    def _begin(self) -> None:
        self.lock = threading.RLock()
        self.targets = Targets(self.clock)
        self.rate_limiter = RateLimiter(self.clock, lambda: self._now().timestamp())
        self.round_robin = WeightedRoundRobin(self._random)
        self.session_affinity = SessionAffinity()
        self.quality_scores = QualityScores(self.clock)
        self.experiments = Experiments()
        self.tail_latency = TailLatency()
        self.hedge_budget = HedgeBudget()

    def planned(self) -> None:
        """A call was planned."""
        with self.lock:
            self.round_robin.planned()

    def number(self) -> int:
        """A number that nothing else here has."""
        return next(self._numbers)

    def begin(
        self, target: Target, meters: Sequence[Meter], tokens: int, seconds: float, timed: Timed
    ) -> Reservation:
        """A request goes out, which may take so long."""
        number, until = self.number(), self.clock() + seconds + GRACE_SECONDS
        with self.lock:
            self.targets.began(target, number, until)
            taken = self.rate_limiter.take(meters, tokens, number, until)
        return Reservation(number, target, meters, tokens, timed, taken)

    def received(self, reservation: Reservation) -> None:
        """The endpoint is done with it; what it used, and whether it will do, is told later."""
        with self.lock:
            self.targets.ended(reservation.target, reservation.number)
            self.rate_limiter.received(reservation.meters, reservation.number)

    def answered(self, reservation: Reservation, sent: Sent) -> None:
        """It was answered."""
        with self.lock:
            self._end(reservation, sent)
            self.targets.answered(reservation.target, reservation.timed, sent.seconds)

    def failed(self, reservation: Reservation, sent: Sent) -> None:
        """It failed, and that is the endpoint's fault."""
        with self.lock:
            self._end(reservation, sent)
            self.targets.failed(reservation.target, reservation.timed, sent.seconds)

    def ended(self, reservation: Reservation, sent: Sent) -> None:
        """It is over, and says nothing about how quick the endpoint is."""
        with self.lock:
            self._end(reservation, sent)

    def _end(self, reservation: Reservation, sent: Sent) -> None:
        used = 0 if sent.is_known_unused else reservation.tokens if sent.tokens is None else sent.tokens
        self.targets.ended(reservation.target, reservation.number)
        self.rate_limiter.settle(
            reservation.meters, reservation.number, used - reservation.tokens, reservation.taken
        )
