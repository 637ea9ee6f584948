"""The endpoints that calls are spread over, each with its key: how busy, how much used, how quick."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from .latency import Latency, after_answer, after_failure

if TYPE_CHECKING:
    from collections.abc import Callable

HALF_LIFE = 60.0
"""A request of so many seconds ago counts half: who comes back after a pause is not flooded to make up for it."""

Member = tuple[str, str]
"""An endpoint, and the fingerprint of the house's key; ``users`` for all keys that users bring."""
Timed = Literal["first_token", "total"]


def forget_lost(under_way: dict[int, float], now: float) -> None:
    """Drop the oldest requests of which nobody told how they ended, although it is past the time by which they had to."""
    while under_way and under_way[oldest := next(iter(under_way))] <= now:
        del under_way[oldest]


class _Load:
    """Of one member. Not thread-safe: `Members` is used under the lock of its owner."""

    __slots__ = ("latency", "under_way", "used", "used_at")

    def __init__(self) -> None:
        self.under_way: dict[int, float] = {}
        self.used = 0.0
        self.used_at = 0.0
        self.latency: dict[Timed, Latency] = {}


class Members:
    """What is known of every member. Its owner has the lock.

    Args:
        clock: The monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._loads: dict[Member, _Load] = {}

    def busy(self, member: Member) -> int:
        """How many of its requests are under way."""
        load = self._loads.get(member)
        if load is None or not load.under_way:
            return 0
        forget_lost(load.under_way, self._clock())
        return len(load.under_way)

    def used(self, member: Member) -> float:
        """How many requests it had lately."""
        load = self._loads.get(member)
        return 0.0 if load is None else load.used * 0.5 ** ((self._clock() - load.used_at) / HALF_LIFE)

    def latency(self, member: Member, timed: Timed) -> Latency | None:
        """How quick it is; None if that is not known."""
        load = self._loads.get(member)
        return None if load is None else load.latency.get(timed)

    def began(self, member: Member, number: int, until: float) -> None:
        """A request goes out; if nothing is told of it ``until`` then, it counts as over."""
        load = self._loads.setdefault(member, _Load())
        load.used, load.used_at = self.used(member) + 1.0, self._clock()
        load.under_way[number] = until

    def ended(self, member: Member, number: int) -> None:
        """A request is over."""
        load = self._loads.get(member)
        if load is not None:
            load.under_way.pop(number, None)

    def answered(self, member: Member, timed: Timed, seconds: float) -> None:
        """It took so long to answer."""
        latency = self._loads.setdefault(member, _Load()).latency
        latency[timed] = after_answer(latency.get(timed), seconds, self._clock())

    def failed(self, member: Member, timed: Timed, seconds: float) -> None:
        """It took so long to fail."""
        latency = self._loads.setdefault(member, _Load()).latency
        latency[timed] = after_failure(latency.get(timed), seconds, self._clock())
