"""A store in memory for several members of one process, which behaves as the state server does. For tests."""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from typing import TYPE_CHECKING

from typing_extensions import override

from backend.utils.llm.forks import ForkSafe
from backend.utils.llm.state.shared.store import (
    KEPT_ASIDE_SECONDS,
    LEASE_SECONDS,
    LOOK_SECONDS,
    PART,
    LimitState,
    ReservationAnswer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from backend.utils.llm.state.shared.store import (
        CounterChange,
        CountReporter,
        EventHandler,
        SharedEvent,
        SharedLimit,
    )


def bucket_at(limit: SharedLimit, at: float) -> int:
    """The part of a window at the time ``at``, in whole milliseconds, as the server counts."""
    return math.floor(round(1000 * at) / round(1000 * limit.bucket_seconds, 6))


class _Window:
    """The amounts of a sliding window, by bucket."""

    def __init__(self) -> None:
        self.buckets: defaultdict[int, int] = defaultdict(int)

    def expire(self, limit: SharedLimit, now: float) -> int:
        """Drop the buckets that no longer count, and return the oldest that does."""
        first = bucket_at(limit, now - limit.grant_seconds)
        for bucket in [one for one in self.buckets if one < first]:
            del self.buckets[bucket]
        return first

    def until_free(self, limit: SharedLimit, need: int, now: float) -> float:
        """Seconds until ``need`` is free."""
        for bucket in sorted(self.buckets):
            need -= self.buckets[bucket]
            if need <= 0:
                return max(0.001, (bucket + 1) * limit.bucket_seconds + limit.grant_seconds - now)
        return limit.grant_seconds


class SharedMemory(ForkSafe):
    """The state that the members share.

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
        self.aside: defaultdict[str, dict[MemoryStore, tuple[int, float]]] = defaultdict(dict)
        self.sums: defaultdict[str, int] = defaultdict(int)

    def used(self, limit: SharedLimit, now: float) -> int:
        """The amount of ``limit`` that is used."""
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

    def take(self, limit: SharedLimit, name: str, now: float) -> None:
        """Count the amount that ``limit`` asks for, by the request ``name``."""
        if limit.kind == "window":
            self.windows[limit.key].buckets[bucket_at(limit, now)] += limit.ask
        elif limit.kind == "total":
            self.totals[limit.key] = self.used(limit, now) + limit.ask, now + limit.seconds
        else:
            self.places[limit.key][name] = now + LEASE_SECONDS

    def others(self, limit: SharedLimit, process: MemoryStore) -> int:
        """The amount set aside for processes other than ``process``, as of the last `set_aside`."""
        own, _ = self.aside[limit.key].get(process, (0, 0.0))
        return self.sums[limit.key] - own

    def keep(self, limit: SharedLimit, process: MemoryStore, amount: int, ends: float) -> None:
        """Set aside ``amount`` for ``process`` until ``ends``."""
        self.sums[limit.key] = self.others(limit, process) + amount
        self.aside[limit.key][process] = amount, ends

    def set_aside(self, limit: SharedLimit, process: MemoryStore, now: float, least: int = 0) -> int:
        """Set aside a share of what is left for ``process``, and at least ``least``; return the share."""
        processes = len(self.members)
        for store in [one for one, (_, ends) in self.aside[limit.key].items() if ends <= now]:
            self.keep(limit, store, 0, now)
            del self.aside[limit.key][store]
        left = limit.most - self.used(limit, now) - self.others(limit, process)
        amount = max(1, left // (PART * processes)) if left >= processes else 0
        self.keep(limit, process, max(amount, least), now + KEPT_ASIDE_SECONDS)
        return amount

    def allowance(self, limit: SharedLimit, process: MemoryStore, now: float) -> int | None:
        """A newly set aside amount for ``process``; None if the earlier one holds, which is cut to what is left."""
        amount, ends = self.aside[limit.key].get(process, (0, now))
        if ends <= now:
            return self.set_aside(limit, process, now)
        left = limit.most - self.used(limit, now) - self.others(limit, process)
        self.keep(limit, process, min(amount, max(0, left)), ends)
        return None

    def room(self, limit: SharedLimit, process: MemoryStore, now: float) -> LimitState:
        """The state of ``limit`` for ``process`` at ``now``."""
        allowance = self.allowance(limit, process, now)
        used = self.used(limit, now)
        left = limit.most - used - self.others(limit, process)
        is_window = limit.kind == "window"
        bucket = bucket_at(limit, now) if is_window else -1
        if left >= limit.ask:
            return LimitState(left, 0.0, bucket, allowance)
        need, wait = limit.ask - limit.most + used, math.inf
        if is_window:
            wait = self.windows[limit.key].until_free(limit, need, now) if need > 0 else LOOK_SECONDS
        return LimitState(left, wait, bucket, allowance)


class MemoryStore:
    """A `Store` of one member of a `SharedMemory`."""

    away_since: float | None = None
    patience = 1.0
    reporter: CountReporter | None = None

    def __init__(self, shared: SharedMemory, heard: EventHandler) -> None:
        self._shared = shared
        self._heard = heard
        self.joined = True
        self.is_slow = False
        shared.members.append(self)

    @property
    def processes(self) -> int:
        """The number of members."""
        return len(self._shared.members)

    def reserve(
        self, name: str, limits: Sequence[SharedLimit], on_answer: Callable[[ReservationAnswer | None], None]
    ) -> None:
        """Take all that ``limits`` ask for, or nothing. See `Store.reserve`."""
        shared = self._shared
        with shared.lock:
            now = shared.clock()
            granted = all(
                shared.used(one, now) + shared.others(one, self) + one.ask <= one.most for one in limits
            )
            for limit in limits if granted else ():
                shared.take(limit, name, now)
            answer = ReservationAnswer(granted, tuple(shared.room(one, self, now) for one in limits))
        on_answer(answer)

    def beat(self) -> None:
        """Renew the allowances of this member. A store on a server does that by itself, every second."""
        if self.reporter is None:
            return
        shared, in_use = self._shared, self.reporter.list_limits_in_use()
        with shared.lock:
            now = shared.clock()
            rooms = [(limit, self._set_aside(limit, least, now)) for limit, least in in_use]
        self.reporter.set_allowances(rooms)

    def _set_aside(self, limit: SharedLimit, least: int, now: float) -> LimitState:
        shared = self._shared
        own, _ = shared.aside[limit.key].get(self, (0, now))
        amount = shared.set_aside(limit, self, now, min(least, own))
        left = limit.most - shared.used(limit, now) - shared.others(limit, self)
        return LimitState(left, allowance=amount)

    def queue_changes(self, changes: Sequence[CounterChange]) -> None:
        """Apply these counter changes. See `Store.queue_changes`."""
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

    def release_slots(self, name: str, keys: Sequence[str], *, send_now: bool) -> None:
        """Release the places of the request ``name``. See `Store.release_slots`."""
        with self._shared.lock:
            for key in keys:
                self._shared.places[key].pop(name, None)

    def publish(
        self, event: SharedEvent, *, merge: Callable[[SharedEvent, SharedEvent], SharedEvent] | None = None
    ) -> None:
        """Pass ``event`` on to all other members. See `Store.publish`."""
        for other in self._others():
            other._heard(event, 0.0)

    def _others(self) -> Iterable[MemoryStore]:
        return (member for member in list(self._shared.members) if member is not self)

    def is_unreachable(self) -> bool:
        """False: this store answers at once."""
        return False

    def start(self) -> None:
        """Do nothing: events come without a thread."""

    def close(self) -> None:
        """Leave the members."""
        if self in self._shared.members:
            self._shared.members.remove(self)
