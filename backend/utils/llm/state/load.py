"""The endpoints that calls are spread over, each with its key: how busy, how much used, how quick."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from .latency import Failing, Latency, after_answer, after_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HALF_LIFE = 60.0
"""A request of so many seconds ago counts half."""

Target = tuple[str, str]
"""An endpoint, and the fingerprint of the house's key; ``users`` for all keys that users bring."""
Timed = Literal["first_token", "total"]


class InFlight:
    """Requests that went out, by number, each with the time by which somebody must have told how it ended."""

    __slots__ = ("_soonest", "_until")

    def __init__(self) -> None:
        self._until: dict[int, float] = {}
        self._soonest = math.inf
        """Before this time none is lost."""

    def add(self, number: int, until: float) -> None:
        """One more; if nothing is told of it ``until`` then, it is lost, and no longer counts."""
        self._until[number] = until
        self._soonest = min(self._soonest, until)

    def remove(self, number: int) -> None:
        """It is over."""
        self._until.pop(number, None)

    def count(self, now: float) -> int:
        """How many there are."""
        if now >= self._soonest:
            self._until = {number: until for number, until in self._until.items() if until > now}
            self._soonest = min(self._until.values(), default=math.inf)
        return len(self._until)


class Load:
    """Of one target.

    Attributes:
        latency: How quick it is, as far as that is known.
        failing: How often it fails; None if it never did.
        in_flight: Its requests in flight.
        recent_requests: How much it was used lately, as a logarithm to which time adds nothing: who has the least needs no clock.
    """

    __slots__ = ("failing", "in_flight", "latency", "recent_requests")

    def __init__(self) -> None:
        self.latency: dict[Timed, Latency] = {}
        self.failing: Failing | None = None
        self.in_flight = InFlight()
        self.recent_requests = -math.inf

    def used(self, now: float) -> float:
        """How many requests it had lately."""
        return float(2.0 ** (self.recent_requests - now / HALF_LIFE))

    def began(self, number: int, now: float, until: float) -> None:
        """A request goes out."""
        self.recent_requests = math.log2(self.used(now) + 1.0) + now / HALF_LIFE
        self.in_flight.add(number, until)


_IDLE = Load()


class Targets:
    """What is known of every target. Its owner has the lock.

    Args:
        clock: The monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._loads: dict[Target, Load] = {}

    def loads(self, targets: Iterable[Target]) -> list[Load]:
        """All that is known of each, to read."""
        known = self._loads
        return [known.get(target, _IDLE) for target in targets]

    def busy(self, target: Target) -> int:
        """How many of its requests are under way."""
        return self._loads.get(target, _IDLE).in_flight.count(self._clock())

    def used(self, target: Target) -> float:
        """How many requests it had lately."""
        return self._loads.get(target, _IDLE).used(self._clock())

    def latency(self, target: Target, timed: Timed) -> Latency | None:
        """How quick it is; None if that is not known."""
        return self._loads.get(target, _IDLE).latency.get(timed)

    def timed_at(self, target: Target, timed: Timed) -> float:
        """When it was timed last; minus infinity if never."""
        latency = self.latency(target, timed)
        return -math.inf if latency is None else latency.at

    def began(self, target: Target, number: int, until: float) -> None:
        """A request goes out; if nothing is told of it ``until`` then, it counts as over."""
        self._own(target).began(number, self._clock(), until)

    def ended(self, target: Target, number: int) -> None:
        """A request is over."""
        self._loads.get(target, _IDLE).in_flight.remove(number)

    def answered(self, target: Target, timed: Timed, seconds: float) -> None:
        """It took so long to answer."""
        load, now = self._own(target), self._clock()
        load.latency[timed] = after_answer(load.latency.get(timed), seconds, now)
        if load.failing is not None:
            load.failing = load.failing.after(now, failed=False)

    def failed(self, target: Target, timed: Timed, seconds: float) -> None:
        """It took so long to fail."""
        load, now = self._own(target), self._clock()
        load.latency[timed] = after_failure(load.latency.get(timed), seconds, now)
        load.failing = (load.failing or Failing()).after(now, failed=True)

    def level_up(self, target: Target, recent_requests: float) -> None:
        """It counts as used no less than that: who was away is not flooded to make up for it."""
        load = self._own(target)
        load.recent_requests = max(load.recent_requests, recent_requests)

    def _own(self, target: Target) -> Load:
        load = self._loads.get(target)
        if load is None:
            load = self._loads[target] = Load()
        return load
