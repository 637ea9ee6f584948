"""The load of each endpoint and key: requests in flight, recent requests, latency and failures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from .latency import FailureRate, LatencyEstimate, latency_after_answer, latency_after_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HALF_LIFE = 60.0
"""Seconds after which a request counts half among the recent requests."""

Target = tuple[str, str]
"""An endpoint, and the fingerprint of the house's key; ``users`` for all keys that users bring."""
LatencyKind = Literal["first_token", "total"]


class InFlightRequests:
    """The requests in flight, by number. A request whose end is not reported in time is no longer counted."""

    __slots__ = ("_soonest", "_until")

    def __init__(self) -> None:
        self._until: dict[int, float] = {}
        self._soonest = math.inf
        """The earliest of these times."""

    def add(self, request_number: int, until: float) -> None:
        """Count a request until its end is reported, but at most until the time ``until``."""
        self._until[request_number] = until
        self._soonest = min(self._soonest, until)

    def remove(self, request_number: int) -> None:
        """Stop counting the request, because it has ended."""
        self._until.pop(request_number, None)

    def count(self, now: float) -> int:
        """The number of requests in flight."""
        if now >= self._soonest:
            self._until = {number: until for number, until in self._until.items() if until > now}
            self._soonest = min(self._until.values(), default=math.inf)
        return len(self._until)


class TargetLoad:
    """The load of one target: an endpoint with one of the operator's keys, or with all keys of users.

    Attributes:
        latency: The mean latency, by kind; a kind that was never measured is missing.
        failing: The failure rate; None if no request ever failed.
        in_flight: The requests in flight.
        recent_requests: The base-2 logarithm of the number of recent requests, plus the time in half-lives.
            It needs no update as the number decays, so that targets can be compared at any time.
    """

    __slots__ = ("failing", "in_flight", "latency", "recent_requests")

    def __init__(self) -> None:
        self.latency: dict[LatencyKind, LatencyEstimate] = {}
        self.failing: FailureRate | None = None
        self.in_flight = InFlightRequests()
        self.recent_requests = -math.inf

    def recent_request_count(self, now: float) -> float:
        """The number of recent requests at ``now``, in which each request counts less the older it is."""
        return float(2.0 ** (self.recent_requests - now / HALF_LIFE))

    def record_start(self, request_number: int, now: float, until: float) -> None:
        """Count a request as recent, and as in flight until its end is reported, at most until ``until``."""
        self.recent_requests = math.log2(self.recent_request_count(now) + 1.0) + now / HALF_LIFE
        self.in_flight.add(request_number, until)


_IDLE = TargetLoad()


class TargetLoads:
    """The load of every target, which is an endpoint with a key. Not thread-safe: the owner holds a lock.

    Args:
        clock: The monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._loads: dict[Target, TargetLoad] = {}

    def list_loads(self, targets: Iterable[Target]) -> list[TargetLoad]:
        """List the load of each of ``targets``, in the same order. The caller must not change these objects."""
        known = self._loads
        return [known.get(target, _IDLE) for target in targets]

    def in_flight_count(self, target: Target) -> int:
        """The number of requests in flight to ``target``."""
        return self._loads.get(target, _IDLE).in_flight.count(self._clock())

    def recent_request_count(self, target: Target) -> float:
        """The number of recent requests to ``target``, in which each request counts less the older it is."""
        return self._loads.get(target, _IDLE).recent_request_count(self._clock())

    def mean_latency(self, target: Target, latency_kind: LatencyKind) -> LatencyEstimate | None:
        """The moving average of the latency of ``target``; None if no latency of this kind was measured."""
        return self._loads.get(target, _IDLE).latency.get(latency_kind)

    def last_measured_at(self, target: Target, latency_kind: LatencyKind) -> float:
        """When the latency of ``target`` was last measured, by the monotonic clock; minus infinity if never."""
        latency = self.mean_latency(target, latency_kind)
        return -math.inf if latency is None else latency.at

    def record_start(self, target: Target, request_number: int, until: float) -> None:
        """Count a request as recent, and as in flight until its end is reported, at most until ``until``."""
        self._own(target).record_start(request_number, self._clock(), until)

    def record_end(self, target: Target, request_number: int) -> None:
        """Stop counting the request as in flight."""
        self._loads.get(target, _IDLE).in_flight.remove(request_number)

    def record_answer(self, target: Target, latency_kind: LatencyKind, seconds: float) -> None:
        """Record that ``target`` answered a request within ``seconds``, as a latency of the kind ``latency_kind``."""
        load, now = self._own(target), self._clock()
        load.latency[latency_kind] = latency_after_answer(load.latency.get(latency_kind), seconds, now)
        if load.failing is not None:
            load.failing = load.failing.with_request(now, failed=False)

    def record_failure(self, target: Target, latency_kind: LatencyKind, seconds: float) -> None:
        """Record that a request to ``target`` failed after ``seconds``."""
        load, now = self._own(target), self._clock()
        load.latency[latency_kind] = latency_after_failure(load.latency.get(latency_kind), seconds, now)
        load.failing = (load.failing or FailureRate()).with_request(now, failed=True)

    def set_min_recent_requests(self, target: Target, recent_requests: float) -> None:
        """Raise `TargetLoad.recent_requests` of ``target`` to ``recent_requests``, if it is lower.

        So a strategy does not flood a target that was unavailable for a while.
        """
        load = self._own(target)
        load.recent_requests = max(load.recent_requests, recent_requests)

    def _own(self, target: Target) -> TargetLoad:
        load = self._loads.get(target)
        if load is None:
            load = self._loads[target] = TargetLoad()
        return load
