"""Counts requests and tokens against the limits of keys, endpoints and features; calls wait for room in a queue."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import OrderedDict
from itertools import islice, repeat
from typing import TYPE_CHECKING, Literal, NamedTuple

from .load import InFlightRequests
from .windows import CalendarWindow, SlidingWindow, period_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ..rate_limits import Limits, Period, RateLimit
    from .windows import Window, WindowGrant

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


class MeteredScope(NamedTuple):
    """A key, endpoint or feature with its rate limits.

    Attributes:
        scope: The id of the key, endpoint or feature. All requests with the same scope are counted together.
        name: What the limits apply to, as text for messages, such as ``to openai:gpt-6-luna``.
        limits: The rate limits.
    """

    scope: str
    name: str
    limits: Limits


class ExceededLimit(NamedTuple):
    """A rate limit that a request must wait for.

    Attributes:
        scope: The scope whose limit is exceeded.
        what: The limit, in words.
        seconds: Seconds until the request may be sent if all calls before it use all tokens they reserve; inf
            if it needs more tokens than the limit.
        look_in: Seconds until the next check.
        is_quota: Whether the limit is daily or monthly.
        is_guess: Whether ``seconds`` is only the time of the next check, because nobody knows when other
            requests end.
    """

    scope: str
    what: str
    seconds: float
    look_in: float
    is_quota: bool = False
    is_guess: bool = False


class LimitUsage(NamedTuple):
    """How much of one rate limit is used, and how many calls wait.

    Attributes:
        what: The unit that is counted; ``at once`` for requests in flight.
        per: The limit's period; None for requests in flight.
        used: The amount used.
        most: The limit.
        waiting: How many calls wait for any limit of the same scope.
    """

    what: Literal["requests", "tokens", "at once"]
    per: Period | None
    used: int
    most: int
    waiting: int


class WaitQueue:
    """The calls that wait for the rate limits of one scope, oldest first, and the tokens that each needs."""

    __slots__ = ("_asks", "_order")

    def __init__(self) -> None:
        self._order: list[int] = []
        self._asks: dict[int, tuple[float, int]] = {}

    def __len__(self) -> int:
        return len(self._order)

    def add_or_extend(self, call_number: int, until: float, tokens: int) -> None:
        """Add a call to the queue, or extend its wait. A call that is not extended by ``until`` is removed."""
        if call_number not in self._asks:
            insort(self._order, call_number)
        self._asks[call_number] = (until, tokens)

    def remove(self, call_number: int) -> None:
        """Remove a call from the queue."""
        if self._asks.pop(call_number, None) is not None:
            self._order.remove(call_number)

    def count_calls_ahead(self, call_number: int, now: float) -> int:
        """Count the calls ahead of ``call_number``; all calls for the number 0, which no queued call has.

        Removes calls at the front whose wait has expired.
        """
        while self._order and (first := self._order[0]) != call_number and self._asks[first][0] <= now:
            self.remove(first)  # it did not come back
        return bisect_left(self._order, call_number) if call_number else len(self._order)

    def tokens_of_first_calls(self, call_count: int) -> Iterator[int]:
        """Yield the tokens that each of the first ``call_count`` calls in the queue needs, in order."""
        return (self._asks[call_number][1] for call_number in islice(self._order, call_count))


class LimitReservation(NamedTuple):
    """The amounts that a request in flight has reserved under the limits of one scope.

    Attributes:
        tokens: The tokens that the request may use.
        until: When the whole reservation counts as used, if the end of the request was not reported.
        of_requests: The grants for the request itself, each with its window.
        of_tokens: The grants for its tokens, each with its window.
    """

    tokens: int
    until: float
    of_requests: list[tuple[Window, WindowGrant]]
    of_tokens: list[tuple[Window, WindowGrant]]


class _Count:
    """The counts of one scope.

    Attributes:
        reserved: The reservations of requests in flight, by number. The unused part is given back.
    """

    __slots__ = ("in_flight", "queue", "reserved", "windows")

    def __init__(self) -> None:
        self.windows: dict[tuple[str, Period], Window] = {}
        self.in_flight = InFlightRequests()
        self.reserved: dict[int, LimitReservation] = {}
        self.queue = WaitQueue()

    def is_live(self, resets: Mapping[Period, float], now: float) -> bool:
        """Whether the scope must be kept: a call waits, a request is in flight, or a quota is partly used."""
        if len(self.queue) or self.in_flight.count(now):
            return True
        return any(per in resets and window.used_amount() for (_, per), window in self.windows.items())

    def unsettled(self, window: Window) -> int:
        """The tokens in ``window`` that are reserved, but not yet used."""
        return sum(
            reservation.tokens
            for reservation in self.reserved.values()
            for place, grant in reservation.of_tokens
            if place is window and window.is_counted(grant)
        )

    def forget_lost(self, now: float) -> None:
        """Drop the reservations of requests whose end was not reported in time: they count as used."""
        while self.reserved and self.reserved[first := next(iter(self.reserved))].until <= now:
            del self.reserved[first]


class RateLimiter:
    """Counts requests and tokens against the rate limits of each scope.

    Not thread-safe: the owner holds a lock.

    Args:
        clock: The monotonic clock, in seconds.
        epoch: The wall clock, in seconds since the epoch.
    """

    is_shared = False
    """Whether other processes share the limits: then `reserve_shared_limits` must still be called for a request that fits here."""

    def __init__(self, clock: Callable[[], float], epoch: Callable[[], float]) -> None:
        self._clock = clock
        self._epoch = epoch
        self._counts: OrderedDict[str, _Count] = OrderedDict()
        self._resets: dict[Period, float] = dict.fromkeys(("day", "month"), -math.inf)

    def find_exceeded_limit(
        self, meters: Sequence[MeteredScope], tokens: int, call_number: int = 0
    ) -> ExceededLimit | None:
        """Find the limit that delays a request of ``tokens`` the longest; None if it may be sent. Counts nothing.

        Args:
            meters: The scopes in which the request counts.
            tokens: The tokens that the request may use.
            call_number: The call's number in the queues; 0 for a call that is in no queue.
        """
        found = [limit for meter in meters for limit in self._obstacles(meter, tokens, call_number)]
        return max(found, key=lambda limit: limit.seconds, default=None)

    def _obstacles(self, meter: MeteredScope, tokens: int, call_number: int) -> Iterator[ExceededLimit]:
        """Each limit that is exceeded, with room reserved for the calls that wait before this one."""
        count, limits, clock = self._counts.get(meter.scope) or _Count(), meter.limits, self._clock()
        before = count.queue.count_calls_ahead(call_number, clock)
        for rate in limits.requests:
            yield from self._too_many(meter, count, "requests", rate, [*repeat(1, before + 1)])
        for rate in limits.tokens:
            yield from self._too_many(
                meter, count, "tokens", rate, [*count.queue.tokens_of_first_calls(before), tokens]
            )
        if limits.concurrency is None:
            return
        most = self._own(limits.concurrency)
        if count.in_flight.count(clock) + before >= most:
            what = f"{limits.concurrency} requests at once {meter.name}"
            poll = _poll(before // most)
            yield ExceededLimit(meter.scope, what, poll, poll, is_guess=True)

    def _too_many(
        self, meter: MeteredScope, count: _Count, kind: str, rate: RateLimit, asks: list[int]
    ) -> Iterator[ExceededLimit]:
        """The limit, if there is no room for the last of ``asks`` after the others.

        There is room sooner if a request uses fewer tokens than reserved, or a call in front gives up.
        """
        window, alone, most = self._window(count, kind, rate.per), asks[-1], self._own(rate.amount)
        seconds = window.seconds_until_free(asks, most)
        what = f"{rate.amount} {kind} per {rate.per} {meter.name}"
        if alone > rate.amount:
            yield ExceededLimit(meter.scope, what, math.inf, math.inf, rate.is_calendar_quota)
        elif seconds > 0:
            unsettled = count.unsettled(window) if kind == "tokens" else 0
            soonest = window.seconds_until_free([alone], most + unsettled)
            soon = min(SETTLING_SECONDS * len(asks), max(LONGEST_POLL, len(asks) / _LOOKS_PER_SECOND))
            look_in = seconds if soonest + soon >= seconds else max(soon, soonest)
            if unsettled and soonest <= 0:
                yield ExceededLimit(meter.scope, what, look_in, look_in, is_guess=True)
            else:
                yield ExceededLimit(meter.scope, what, seconds, look_in, rate.is_calendar_quota)

    def _own(self, amount: int) -> int:
        """The part of a limit that this process may use."""
        return amount

    def count_request(
        self, meters: Sequence[MeteredScope], tokens: int, request_number: int, until: float
    ) -> None:
        """Count a request, and count it as in flight until its end is reported, at most until ``until``."""
        for meter in meters:
            count, limits = self._count(meter.scope), meter.limits
            count.forget_lost(self._clock())
            of_requests = [self._grant(count, "requests", rate.per, 1) for rate in limits.requests]
            of_tokens = [self._grant(count, "tokens", rate.per, tokens) for rate in limits.tokens]
            count.reserved[request_number] = LimitReservation(tokens, until, of_requests, of_tokens)
            count.in_flight.add(request_number, until)

    def reserve_shared_limits(self, request_number: int) -> bool:  # noqa: ARG002 - for those who ask others
        """Reserve a request in the limits that are shared with other processes.

        Called after `count_request` has counted the request in this process. Returns whether the request may be
        sent; always True if no limits are shared. May block until the shared store answers: call this without
        holding the lock.
        """
        return True

    async def areserve_shared_limits(self, request_number: int) -> bool:
        """Reserve a request like `reserve_shared_limits`, without blocking the event loop."""
        return self.reserve_shared_limits(request_number)

    def mark_request_answered(self, meters: Sequence[MeteredScope], request_number: int) -> None:
        """Stop counting a request as in flight: it was answered. Its tokens stay reserved until they are settled."""
        for meter in meters:
            self._count(meter.scope).in_flight.remove(request_number)

    def settle_request(
        self,
        meters: Sequence[MeteredScope],
        request_number: int,
        used_tokens: int | None,
        *,
        reached_provider: bool = True,
    ) -> None:
        """Replace the tokens that a request reserved by the tokens that it used.

        Args:
            meters: The scopes in which the request counts, as for `count_request`.
            request_number: The number of the request, as for `count_request`.
            used_tokens: The tokens used; None if unknown, so that all reserved tokens count.
            reached_provider: Whether the provider received the request. If not, the request is no longer counted.
        """
        for meter in meters:
            count = self._count(meter.scope)
            count.in_flight.remove(request_number)
            reservation = count.reserved.pop(request_number, None)
            if reservation is None:
                continue
            unused = 0 if used_tokens is None else reservation.tokens - used_tokens
            for window, grant in reservation.of_tokens:
                if unused > 0:
                    window.release_amount(grant, unused)
                elif unused < 0:
                    window.add_amount(-unused)
            for window, grant in () if reached_provider else reservation.of_requests:
                window.release_amount(grant, 1)

    def _grant(self, count: _Count, kind: str, per: Period, amount: int) -> tuple[Window, WindowGrant]:
        window = self._window(count, kind, per)
        return window, window.add_amount(amount)

    def _window(self, count: _Count, kind: str, per: Period) -> Window:
        window = count.windows.get((kind, per))
        if window is None:
            is_quota = per in self._resets
            window = CalendarWindow(per, self._epoch) if is_quota else SlidingWindow(per, self._clock)
            count.windows[kind, per] = window
        return window

    def next_quota_resets(self) -> Mapping[Period, float]:
        """When daily and monthly quotas are reset next, by period, in seconds since the epoch."""
        now = self._epoch()
        if now >= self._resets["day"]:
            self._resets = {per: period_end(per, now) for per in self._resets}
        return self._resets

    def list_limit_usage(self, meter: MeteredScope) -> Iterator[LimitUsage]:
        """Yield how much of each limit of ``meter`` is used, for display. Counts nothing."""
        count, limits = self._counts.get(meter.scope) or _Count(), meter.limits
        waiting = len(count.queue)
        for rate in limits.requests:
            yield LimitUsage("requests", rate.per, _used(count, "requests", rate.per), rate.amount, waiting)
        for rate in limits.tokens:
            yield LimitUsage("tokens", rate.per, _used(count, "tokens", rate.per), rate.amount, waiting)
        if limits.concurrency is not None:
            yield LimitUsage(
                "at once", None, count.in_flight.count(self._clock()), limits.concurrency, waiting
            )

    # Usage without reservation ---------------------------------------------------------------------------------------

    def count_used_tokens(self, scope: str, rate: RateLimit) -> int:
        """The number of tokens that count against the limit ``rate`` of ``scope`` now."""
        count = self._counts.get(scope)
        return _used(count, "tokens", rate.per) if count else 0

    def add_used_tokens(self, scope: str, rate: RateLimit, tokens: int) -> None:
        """Add ``tokens`` that were used without a reservation to the count of the limit ``rate`` of ``scope``."""
        self._window(self._count(scope), "tokens", rate.per).add_amount(tokens)

    # Queues -------------------------------------------------------------------------------------------------------------

    def join_queue(self, scope: str, call_number: int, seconds: float, tokens: int) -> None:
        """Add a call that needs ``tokens`` to the queue of ``scope`` for ``seconds``, or extend its wait."""
        self._count(scope).queue.add_or_extend(call_number, self._clock() + seconds + GRACE_SECONDS, tokens)

    def leave_queue(self, scope: str, call_number: int) -> None:
        """Remove a call from the queue of ``scope``."""
        if (count := self._counts.get(scope)) is not None:
            count.queue.remove(call_number)

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
        resets, now = self.next_quota_resets(), self._clock()
        old = islice(self._counts.items(), _MOST_LOOKED_AT)
        unmissed = next((scope for scope, count in old if not count.is_live(resets, now)), None)
        del self._counts[unmissed if unmissed is not None else next(iter(self._counts))]


def _used(count: _Count, kind: str, per: Period) -> int:
    window = count.windows.get((kind, per))
    return window.used_amount() if window else 0


def find_first_quota_reset(meters: Sequence[MeteredScope], resets: Mapping[Period, float]) -> float:
    """Find when the first daily or monthly quota of ``meters`` ends, by the times in ``resets``; inf without any."""
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
