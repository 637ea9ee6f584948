"""The load of each endpoint and key: requests in flight, recent requests, latency and failures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from .latency import Failing, LatencyEstimate, after_answer, after_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HALF_LIFE = 60.0
"""Seconds after which a request counts half among the recent requests."""

Target = tuple[str, str]
"""An endpoint, and the fingerprint of the house's key; ``users`` for all keys that users bring."""
LatencyKind = Literal["first_token", "total"]


class InFlight:
    """Requests in flight, by number, each with the time after which the request counts as lost."""

    __slots__ = ("_soonest", "_until")

    def __init__(self) -> None:
        self._until: dict[int, float] = {}
        self._soonest = math.inf
        """The earliest of these times."""

    def add(self, number: int, until: float) -> None:
        """Count a request. If its end is not reported by ``until``, the request is lost and no longer counts."""
        self._until[number] = until
        self._soonest = min(self._soonest, until)

    def remove(self, number: int) -> None:
        """Count request ``number`` as ended."""
        self._until.pop(number, None)

    def count(self, now: float) -> int:
        """The number of requests in flight."""
        if now >= self._soonest:
            self._until = {number: until for number, until in self._until.items() if until > now}
            self._soonest = min(self._until.values(), default=math.inf)
        return len(self._until)


class Load:
    """The load of one target, which is an endpoint with one of the operator's keys, or with the keys of all users.

    Attributes:
        latency: The latency by kind, where measured.
        failing: The failure rate; None if no request ever failed.
        in_flight: The target's requests in flight.
        recent_requests: The base-2 logarithm of the decaying count of requests, scaled so that targets compare without a
            clock.
    """

    __slots__ = ("failing", "in_flight", "latency", "recent_requests")

    def __init__(self) -> None:
        self.latency: dict[LatencyKind, LatencyEstimate] = {}
        self.failing: Failing | None = None
        self.in_flight = InFlight()
        self.recent_requests = -math.inf

    def used(self, now: float) -> float:
        """The decaying number of recent requests at ``now``."""
        return float(2.0 ** (self.recent_requests - now / HALF_LIFE))

    def began(self, number: int, now: float, until: float) -> None:
        """Count a request that is being sent."""
        self.recent_requests = math.log2(self.used(now) + 1.0) + now / HALF_LIFE
        self.in_flight.add(number, until)


_IDLE = Load()


class Targets:
    """The load of every target. Not thread-safe: the owner holds a lock.

    Args:
        clock: The monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._loads: dict[Target, Load] = {}

    def loads(self, targets: Iterable[Target]) -> list[Load]:
        """The load of each of ``targets``, in their order. The caller must not change these objects."""
        known = self._loads
        return [known.get(target, _IDLE) for target in targets]

    def busy(self, target: Target) -> int:
        """The number of requests to ``target`` in flight."""
        return self._loads.get(target, _IDLE).in_flight.count(self._clock())

    def used(self, target: Target) -> float:
        """The decaying number of recent requests to ``target``."""
        return self._loads.get(target, _IDLE).used(self._clock())

    def latency(self, target: Target, latency_kind: LatencyKind) -> LatencyEstimate | None:
        """The moving average of the latency of ``target``; None if no latency of this kind was measured."""
        return self._loads.get(target, _IDLE).latency.get(latency_kind)

    def last_measured(self, target: Target, latency_kind: LatencyKind) -> float:
        """When the latency of ``target`` was last measured, by the monotonic clock; minus infinity if never."""
        latency = self.latency(target, latency_kind)
        return -math.inf if latency is None else latency.at

    def began(self, target: Target, number: int, until: float) -> None:
        """Count a request that is being sent. If its end is not reported by ``until``, the request no longer counts."""
        self._own(target).began(number, self._clock(), until)

    def ended(self, target: Target, number: int) -> None:
        """Count request ``number`` as no longer in flight."""
        self._loads.get(target, _IDLE).in_flight.remove(number)

    def answered(self, target: Target, latency_kind: LatencyKind, seconds: float) -> None:
        """Record the latency of a success."""
        load, now = self._own(target), self._clock()
        load.latency[latency_kind] = after_answer(load.latency.get(latency_kind), seconds, now)
        if load.failing is not None:
            load.failing = load.failing.after(now, failed=False)

    def failed(self, target: Target, latency_kind: LatencyKind, seconds: float) -> None:
        """Record a failure that took ``seconds``."""
        load, now = self._own(target), self._clock()
        load.latency[latency_kind] = after_failure(load.latency.get(latency_kind), seconds, now)
        load.failing = (load.failing or Failing()).after(now, failed=True)

    def level_up(self, target: Target, recent_requests: float) -> None:
        """Raise the target's recent requests to at least ``recent_requests``, so that a target that comes back is not flooded."""
        load = self._own(target)
        load.recent_requests = max(load.recent_requests, recent_requests)

    def _own(self, target: Target) -> Load:
        load = self._loads.get(target)
        if load is None:
            load = self._loads[target] = Load()
        return load
