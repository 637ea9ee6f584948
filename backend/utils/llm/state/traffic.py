"""The state that the calls of one process share, behind one lock."""

from __future__ import annotations

import random as chance
import threading
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

from typing_extensions import override

from ..forks import ForkSafe
from .experiments import ExperimentTracker
from .load import TargetLoads
from .quality_scores import QualityScores
from .rate_limiter import RateLimiter
from .session_affinity import SessionAffinity
from .tail_latency import HedgeBudget, TailLatencyTracker
from .unsupported import UnsupportedCapabilities
from .weighted_round_robin import WeightedRoundRobin

if TYPE_CHECKING:
    from collections.abc import Callable


def _now() -> datetime:
    return datetime.now(UTC)


class TrafficState(ForkSafe):
    """The state that a process's calls share: load, rate limits, experiments and the state of strategies.

    Hold ``lock`` while using any part of it, so that choosing an endpoint and reserving it are one step. A
    forked child begins with an empty state, because the parent's reservations would never be released in the
    child, and a change may have been copied half done.

    Args:
        clock: The monotonic clock, in seconds.
        now: The wall clock.
        random: Returns a random number from 0 up to, not including, 1.
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
        self.numbers = count(1)  # a forked child counts on, so that no number is used twice
        super().__init__()

    @override
    def _begin(self) -> None:
        self.lock = threading.RLock()
        self.targets = TargetLoads(self.clock)
        self.rate_limiter = RateLimiter(self.clock, lambda: self._now().timestamp())
        self.round_robin = WeightedRoundRobin(self._random)
        self.session_affinity = SessionAffinity()
        self.quality_scores = QualityScores(self.clock)
        self.experiments = ExperimentTracker()
        self.tail_latency = TailLatencyTracker()
        self.hedge_budget = HedgeBudget()
        self.unsupported = UnsupportedCapabilities(self.clock)

    def mark_call_planned(self) -> None:
        """Record that a call was planned, so that the next call draws a new random number to pick its variant."""
        with self.lock:
            self.round_robin.reset_variant_random_number()
