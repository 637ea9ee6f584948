"""Counts requests and tokens against the limits of keys, endpoints and features; calls wait for room in a queue."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import OrderedDict
from itertools import islice, repeat
from typing import TYPE_CHECKING, Literal, NamedTuple

from .load import InFlight
from .windows import CalendarWindow, SlidingWindow, resets_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ..rate_limits import Limits, Period, Rate
    from .windows import Grant, Window

MOST_SCOPES = 10_000
"""Scopes kept; beyond that the least recently used is forgotten, as users bring any number of keys."""
POLL_SECONDS = 0.05
"""Seconds between two checks by the first call of a queue; the others check less often, by their place."""
LONGEST_POLL = 1.0
SETTLING_SECONDS = 0.25
"""Seconds between two checks by the first call while requests in flight may still give tokens back."""
_LOOKS_PER_SECOND = 200
"""Checks per second in one queue: with more calls than that, each call checks less often."""
_MOST_LOOKED_AT = 200
GRACE_SECONDS = 1.0
"""Seconds after its announced check at which a call that has not checked leaves the queue."""


class Meter(NamedTuple):
    """The rate limits of one key, endpoint or feature, under whose scope requests are counted.

    Attributes:
        scope: The id of the key, endpoint or feature: all requests with the same scope are counted together.
        name: The scope's name for people.
    """

    scope: str
    name: str
    limits: Limits


class Exceeded(NamedTuple):
    """The reason why a request may not go out now.

    Attributes:
        scope: The scope whose limit is exceeded.
        what: The limit, in words.
        seconds: Seconds until the request may go out if all queued before it use their full estimate; inf if never.
        look_in: Seconds until the next check.
        is_quota: Whether the limit is daily or monthly.
        is_guess: Whether ``seconds`` is only when to check again, because the end of other requests is unknown.
    """

    scope: str
    what: str
    seconds: float
    look_in: float
    is_quota: bool = False
    is_guess: bool = False


class Level(NamedTuple):
    """The state of one limit: how much of it is used, and how many calls wait for room.

    Attributes:
        per: The limit's period; None for requests at once.
        waiting: How many calls wait for room under any limit of the same scope.
    """

    what: Literal["requests", "tokens", "at once"]
    per: Period | None
    used: int
    most: int
    waiting: int


class WaitQueue:
    """The calls that wait for room under a limit, in the order in which they began, and the tokens that each needs."""

    __slots__ = ("_asks", "_order")

    def __init__(self) -> None:
        self._order: list[int] = []
        self._asks: dict[int, tuple[float, int]] = {}

    def __len__(self) -> int:
        return len(self._order)

    def join(self, call_number: int, until: float, tokens: int) -> None:
        """Add a call to the queue, or extend its wait; the call leaves the queue unless it joins again by ``until``."""
        if call_number not in self._asks:
            insort(self._order, call_number)
        self._asks[call_number] = (until, tokens)

    def leave(self, call_number: int) -> None:
        """Remove a call from the queue."""
        if self._asks.pop(call_number, None) is not None:
            self._order.remove(call_number)

    def before(self, call_number: int, now: float) -> int:
        """The number of calls before ``call_number`` in the queue; for 0, a call that has not joined, all of them."""
        while self._order and (first := self._order[0]) != call_number and self._asks[first][0] <= now:
            self.leave(first)  # it did not come back
        return bisect_left(self._order, call_number) if call_number else len(self._order)

    def asks(self, before: int) -> Iterator[int]:
        """The tokens that each of the first ``before`` calls needs, in the order of the queue."""
        return (self._asks[call_number][1] for call_number in islice(self._order, before))


class LimitReservation(NamedTuple):
    """The amounts that a request in flight has reserved in one scope.

    Attributes:
        tokens: The tokens that the request may use.
        until: If the request's end is not reported by then, the reservation counts as used.
        of_requests: The grants for the request itself, each with its window.
        of_tokens: The grants for its tokens, each with its window.
    """

    tokens: int
    until: float
    of_requests: list[tuple[Window, Grant]]
    of_tokens: list[tuple[Window, Grant]]


class _Count:
    """The counts of one scope.

    Attributes:
        reserved: The reservations of requests in flight, by number. The unused part is given back.
    """

    __slots__ = ("in_flight", "queue", "reserved", "windows")

    def __init__(self) -> None:
        self.windows: dict[tuple[str, Period], Window] = {}
        self.in_flight = InFlight()
        self.reserved: dict[int, LimitReservation] = {}
        self.queue = WaitQueue()

    def is_live(self, resets: Mapping[Period, float], now: float) -> bool:
        """Whether the scope must be kept: a call waits, a request is in flight, or a quota is partly used."""
        if len(self.queue) or self.in_flight.count(now):
            return True
        return any(per in resets and window.used() for (_, per), window in self.windows.items())

    def unsettled(self, window: Window) -> int:
        """The tokens in ``window`` that are reserved, but not yet used."""
        return sum(
            one.tokens
            for one in self.reserved.values()
            for place, grant in one.of_tokens
            if place is window and window.holds(grant)
        )

    def forget_lost(self, now: float) -> None:
        """Drop the reservations of requests whose end was not reported in time: they count as used."""
        while self.reserved and self.reserved[first := next(iter(self.reserved))].until <= now:
            del self.reserved[first]


class RateLimiter:
    """Counts requests and tokens against limits, in each scope. Not thread-safe: the owner holds a lock.

    Args:
        clock: The monotonic clock, in seconds.
        epoch: The wall clock, in seconds since the epoch.
    """

    is_shared = False
    """Whether other processes share the limits: then `reserve` must still be called for a request that fits here."""

    def __init__(self, clock: Callable[[], float], epoch: Callable[[], float]) -> None:
        self._clock = clock
        self._epoch = epoch
        self._counts: OrderedDict[str, _Count] = OrderedDict()
        self._resets: dict[Period, float] = dict.fromkeys(("day", "month"), -math.inf)

    def full(self, meters: Sequence[Meter], tokens: int, call_number: int = 0) -> Exceeded | None:
        """Check a request of ``tokens`` against ``meters``: the limit that delays it the longest; None if it may go out.

        Args:
            meters: The limits that the request counts against.
            tokens: The tokens that the request may use.
            call_number: The call's number in the queues; 0 for a call that waits in none.
        """
        found = [one for meter in meters for one in self._obstacles(meter, tokens, call_number)]
        return max(found, key=lambda one: one.seconds, default=None)

    def _obstacles(self, meter: Meter, tokens: int, call_number: int) -> Iterator[Exceeded]:
        """Each limit that is exceeded, with room reserved for the calls that wait before this one."""
        count, limits, clock = self._counts.get(meter.scope) or _Count(), meter.limits, self._clock()
        before = count.queue.before(call_number, clock)
        for rate in limits.requests:
            yield from self._too_many(meter, count, "requests", rate, [*repeat(1, before + 1)])
        for rate in limits.tokens:
            yield from self._too_many(meter, count, "tokens", rate, [*count.queue.asks(before), tokens])
        if limits.concurrency is None:
            return
        most = self._own(limits.concurrency)
        if count.in_flight.count(clock) + before >= most:
            what = f"{limits.concurrency} requests at once {meter.name}"
            poll = _poll(before // most)
            yield Exceeded(meter.scope, what, poll, poll, is_guess=True)

    def _too_many(
        self, meter: Meter, count: _Count, kind: str, rate: Rate, asks: list[int]
    ) -> Iterator[Exceeded]:
        """The limit, if there is no room for the last of ``asks`` after the others.

        There is room sooner if a request uses fewer tokens than reserved, or a call in front gives up.
        """
        window, alone, most = self._window(count, kind, rate.per), asks[-1], self._own(rate.amount)
        seconds = window.seconds_until(asks, most)
        what = f"{rate.amount} {kind} per {rate.per} {meter.name}"
        if alone > rate.amount:
            yield Exceeded(meter.scope, what, math.inf, math.inf, rate.resets)
        elif seconds > 0:
            unsettled = count.unsettled(window) if kind == "tokens" else 0
            soonest = window.seconds_until([alone], most + unsettled)
            soon = min(SETTLING_SECONDS * len(asks), max(LONGEST_POLL, len(asks) / _LOOKS_PER_SECOND))
            look_in = seconds if soonest + soon >= seconds else max(soon, soonest)
            if unsettled and soonest <= 0:
                yield Exceeded(meter.scope, what, look_in, look_in, is_guess=True)
            else:
                yield Exceeded(meter.scope, what, seconds, look_in, rate.resets)

    def _own(self, amount: int) -> int:
        """The part of a limit that this process may use."""
        return amount

    def take(self, meters: Sequence[Meter], tokens: int, number: int, until: float) -> None:
        """Count a request that is being sent. If its end is not reported by ``until``, it no longer counts as in flight."""
        for meter in meters:
            count, limits = self._count(meter.scope), meter.limits
            count.forget_lost(self._clock())
            of_requests = [self._grant(count, "requests", rate.per, 1) for rate in limits.requests]
            of_tokens = [self._grant(count, "tokens", rate.per, tokens) for rate in limits.tokens]
            count.reserved[number] = LimitReservation(tokens, until, of_requests, of_tokens)
            count.in_flight.add(number, until)

    def reserve(self, number: int) -> bool:  # noqa: ARG002 - for those who ask others
        """Reserve room for request ``number`` under the limits shared with other processes, after `take` has counted it here.

        True if the request fits, or if no limits are shared.

        May block for the store's answer: call this without holding the lock.
        """
        return True

    async def areserve(self, number: int) -> bool:
        """Reserve as `reserve` does, without blocking the event loop."""
        return self.reserve(number)

    def received(self, meters: Sequence[Meter], number: int) -> None:
        """Free the place of request ``number`` among those in flight: it was answered, but its tokens are not known yet."""
        for meter in meters:
            self._count(meter.scope).in_flight.remove(number)

    def settle(self, meters: Sequence[Meter], number: int, used: int | None, *, arrived: bool = True) -> None:
        """Replace the tokens that a request reserved by those that it used.

        Args:
            meters: As for `take`.
            number: As for `take`.
            used: The tokens used; None if unknown, so that all reserved tokens count.
            arrived: Whether the request reached the provider; if not, it does not count as a request either.
        """
        for meter in meters:
            count = self._count(meter.scope)
            count.in_flight.remove(number)
            reservation = count.reserved.pop(number, None)
            if reservation is None:
                continue
            unused = 0 if used is None else reservation.tokens - used
            for window, grant in reservation.of_tokens:
                if unused > 0:
                    window.give_back(grant, unused)
                elif unused < 0:
                    window.add(-unused)
            for window, grant in () if arrived else reservation.of_requests:
                window.give_back(grant, 1)

    def _grant(self, count: _Count, kind: str, per: Period, amount: int) -> tuple[Window, Grant]:
        window = self._window(count, kind, per)
        return window, window.add(amount)

    def _window(self, count: _Count, kind: str, per: Period) -> Window:
        window = count.windows.get((kind, per))
        if window is None:
            is_quota = per in self._resets
            window = CalendarWindow(per, self._epoch) if is_quota else SlidingWindow(per, self._clock)
            count.windows[kind, per] = window
        return window

    def resets(self) -> Mapping[Period, float]:
        """The time of the next reset of quotas, for each period, in seconds since the epoch."""
        now = self._epoch()
        if now >= self._resets["day"]:
            self._resets = {per: resets_at(per, now) for per in self._resets}
        return self._resets

    def levels(self, meter: Meter) -> Iterator[Level]:
        """The use of each limit of ``meter``, for overviews; counts nothing."""
        count, limits = self._counts.get(meter.scope) or _Count(), meter.limits
        waiting = len(count.queue)
        for rate in limits.requests:
            yield Level("requests", rate.per, _used(count, "requests", rate.per), rate.amount, waiting)
        for rate in limits.tokens:
            yield Level("tokens", rate.per, _used(count, "tokens", rate.per), rate.amount, waiting)
        if limits.concurrency is not None:
            yield Level("at once", None, count.in_flight.count(self._clock()), limits.concurrency, waiting)

    # Usage without reservation ---------------------------------------------------------------------------------------

    def used(self, scope: str, rate: Rate) -> int:
        """The number of tokens that now count against ``rate`` in ``scope``."""
        count = self._counts.get(scope)
        return _used(count, "tokens", rate.per) if count else 0

    def use(self, scope: str, rate: Rate, tokens: int) -> None:
        """Count ``tokens`` that were used without a reservation against ``rate`` in ``scope``."""
        self._window(self._count(scope), "tokens", rate.per).add(tokens)

    # Queues -------------------------------------------------------------------------------------------------------------

    def join(self, scope: str, call_number: int, seconds: float, tokens: int) -> None:
        """Join the queue of ``scope`` for ``seconds`` with a request of ``tokens``, or extend the wait."""
        self._count(scope).queue.join(call_number, self._clock() + seconds + GRACE_SECONDS, tokens)

    def leave(self, scope: str, call_number: int) -> None:
        """Leave the queue of ``scope``."""
        if (count := self._counts.get(scope)) is not None:
            count.queue.leave(call_number)

    # Counts ----------------------------------------------------------------------------------------------------------

    def _count(self, scope: str) -> _Count:
        count = self._counts.get(scope)
        if count is not None:
            self._counts.move_to_end(scope)
            return count
        count = self._counts[scope] = _Count()
        if len(self._counts) > MOST_SCOPES:
            self._forget_one()
        return count

    def _forget_one(self) -> None:
        """Forget the least recently used scope that is not live; if all are live, the least recently used."""
        resets, now = self.resets(), self._clock()
        old = islice(self._counts.items(), _MOST_LOOKED_AT)
        unmissed = next((scope for scope, count in old if not count.is_live(resets, now)), None)
        del self._counts[unmissed if unmissed is not None else next(iter(self._counts))]


def _used(count: _Count, kind: str, per: Period) -> int:
    window = count.windows.get((kind, per))
    return window.used() if window else 0


def first_reset(meters: Sequence[Meter], resets: Mapping[Period, float]) -> float:
    """The earliest reset in ``resets`` of a quota of ``meters``; inf if there is none."""
    first = math.inf
    for meter in meters:
        for rate in meter.limits.requests + meter.limits.tokens:
            at = resets.get(rate.per)
            if at is not None and at < first:
                first = at
    return first


def _poll(rounds: int) -> float:
    """Seconds until the next check for a call before which all places must be freed ``rounds`` times."""
    return min(LONGEST_POLL, POLL_SECONDS * (rounds + 1))
