"""A store in memory, for several members of one process: what the state server does, told in Python."""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from typing import TYPE_CHECKING

from typing_extensions import override

from ...forks import PerProcess
from .store import LEASE_SECONDS, Answer, Room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .store import Change, Event, Heard, Limit, Reporter


def bucket_at(limit: Limit, at: float) -> int:
    """The part of a window at a time; in whole milliseconds, as the server counts."""
    return math.floor(round(1000 * at) / round(1000 * limit.grain, 6))


class _Window:
    """Amounts by bucket."""

    def __init__(self) -> None:
        self.buckets: defaultdict[int, int] = defaultdict(int)

    def expire(self, limit: Limit, now: float) -> int:
        """Forget what counts no longer. The oldest bucket that does."""
        first = bucket_at(limit, now - limit.length)
        for bucket in [one for one in self.buckets if one < first]:
            del self.buckets[bucket]
        return first

    def until_free(self, limit: Limit, need: int, now: float) -> float:
        """Seconds until so much is free."""
        for bucket in sorted(self.buckets):
            need -= self.buckets[bucket]
            if need <= 0:
                return max(0.001, (bucket + 1) * limit.grain + limit.length - now)
        return limit.length


class SharedMemory(PerProcess):
    """What the members share.

    Args:
        clock: Seconds since any moment.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        super().__init__()

    @override
    def _begin(self) -> None:
        self.lock = threading.RLock()
        self.members: list[MemoryStore] = []
        self.windows: defaultdict[str, _Window] = defaultdict(_Window)
        self.totals: dict[str, tuple[int, float]] = {}
        self.places: defaultdict[str, dict[str, float]] = defaultdict(dict)

    def used(self, limit: Limit, now: float) -> int:
        """How much of ``limit`` is used."""
        if limit.kind == "window":
            window = self.windows[limit.key]
            window.expire(limit, now)
            return sum(window.buckets.values())
        if limit.kind == "total":
            total, until = self.totals.get(limit.key, (0, math.inf))
            return total if until > now else 0
        places = self.places[limit.key]
        for name in [name for name, until in places.items() if until <= now]:
            del places[name]
        return len(places)

    def take(self, limit: Limit, name: str, now: float) -> None:
        """Take what ``limit`` asks for."""
        if limit.kind == "window":
            self.windows[limit.key].buckets[bucket_at(limit, now)] += limit.ask
        elif limit.kind == "total":
            self.totals[limit.key] = self.used(limit, now) + limit.ask, now + limit.seconds
        else:
            self.places[limit.key][name] = now + LEASE_SECONDS

    def room(self, limit: Limit, now: float) -> Room:
        """What ``limit`` says now."""
        left = limit.most - self.used(limit, now)
        is_window = limit.kind == "window"
        bucket = bucket_at(limit, now) if is_window else -1
        if left >= limit.ask:
            return Room(left, 0.0, bucket)
        need = limit.ask - left
        wait = self.windows[limit.key].until_free(limit, need, now) if is_window else math.inf
        return Room(left, wait, bucket)


class MemoryStore:
    """One member's view of a `SharedMemory`. See `Store`."""

    away_since: float | None = None
    patience = 1.0
    reporter: Reporter | None = None

    def __init__(self, shared: SharedMemory, heard: Heard) -> None:
        self._shared = shared
        self._heard = heard
        self.joined = True
        self.is_slow = False
        shared.members.append(self)

    @property
    def processes(self) -> int:
        """See `Store`."""
        return len(self._shared.members)

    def reserve(self, name: str, limits: Sequence[Limit], told: Callable[[Answer | None], None]) -> None:
        """See `Store`."""
        shared = self._shared
        with shared.lock:
            now = shared.clock()
            granted = all(shared.used(one, now) + one.ask <= one.most for one in limits)
            for one in limits if granted else ():
                shared.take(one, name, now)
            answer = Answer(granted, tuple(shared.room(one, now) for one in limits))
        told(answer)

    def change(self, changes: Sequence[Change]) -> None:
        """See `Store`."""
        shared = self._shared
        with shared.lock:
            now = shared.clock()
            for limit, bucket, amount in changes:
                if limit.kind == "total":
                    shared.totals[limit.key] = shared.used(limit, now) + amount, now + limit.seconds
                else:
                    window, current = shared.windows[limit.key], bucket_at(limit, now)
                    if bucket < 0 or bucket >= window.expire(limit, now):
                        window.buckets[current if bucket < 0 else bucket] += amount

    def release(self, name: str, keys: Sequence[str], *, at_once: bool) -> None:  # noqa: ARG002
        """See `Store`."""
        with self._shared.lock:
            for key in keys:
                self._shared.places[key].pop(name, None)

    def publish(self, event: Event, *, merge: Callable[[Event, Event], Event] | None = None) -> None:  # noqa: ARG002
        """See `Store`."""
        for other in self._others():
            other._heard(event, 0.0)  # noqa: SLF001 - they are of one kind

    def _others(self) -> Iterable[MemoryStore]:
        return (one for one in list(self._shared.members) if one is not self)

    def late(self) -> bool:
        """See `Store`."""
        return False

    def start(self) -> None:
        """See `Store`."""

    def close(self) -> None:
        """See `Store`."""
        if self in self._shared.members:
            self._shared.members.remove(self)
