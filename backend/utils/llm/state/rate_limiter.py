"""Counts requests and tokens against the limits of keys, endpoints and features; calls wait for room in a queue."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from ..rate_limits import Rate
from .load import InFlight
from .windows import Window, resets_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ..rate_limits import Limits, Period

MOST_SCOPES = 10_000
"""Beyond this many the one that was used longest ago is forgotten: callers bring keys without end."""
POLL_SECONDS = 0.05
"""How often the first in a queue looks again; the others look more seldom, by their place."""
LONGEST_POLL = 1.0
SETTLING_SECONDS = 0.25
"""How often the first looks again for what others may give back of what was set aside for them."""
_MOST_LOOKED_AT = 200
GRACE_SECONDS = 1.0
"""Who does not look again so many seconds after they meant to has left the queue."""


class Meter(NamedTuple):
    """Some limits, and what they hold for.

    Attributes:
        scope: What is counted together.
        name: The same for people.
    """

    scope: str
    name: str
    limits: Limits


class Exceeded(NamedTuple):
    """Why a request may not go out now.

    Attributes:
        scope: Whose limit it is.
        what: The limit, in words.
        seconds: Until it may; infinite if never.
        is_quota: Whether it is a day's or a month's.
        is_guess: Whether ``seconds`` is only when to look again: nobody knows when others are done.
    """

    scope: str
    what: str
    seconds: float
    is_quota: bool = False
    is_guess: bool = False


class WaitQueue:
    """The calls that wait for room under a limit, in the order in which they began, and the tokens that each needs."""

    __slots__ = ("_asks", "_order")

    def __init__(self) -> None:
        self._order: list[int] = []
        self._asks: dict[int, tuple[float, int]] = {}

    def __len__(self) -> int:
        return len(self._order)

    def join(self, call_number: int, until: float, tokens: int) -> None:
        """Let a call wait, at least ``until`` then."""
        if call_number not in self._asks:
            insort(self._order, call_number)
        self._asks[call_number] = (until, tokens)

    def leave(self, call_number: int) -> None:
        """Take a call out of the queue."""
        if self._asks.pop(call_number, None) is not None:
            self._order.remove(call_number)

    def before(self, call_number: int, now: float) -> int:
        """The number of calls before this one; all of them for 0, a call that is not in the queue."""
        while self._order and (first := self._order[0]) != call_number and self._asks[first][0] <= now:
            self.leave(first)  # it did not come back
        return bisect_left(self._order, call_number) if call_number else len(self._order)

    def asked(self, before: int, most: int) -> int:
        """The tokens that the first ``before`` calls need together, counted no further than ``most``."""
        tokens = 0
        for call_number in islice(self._order, before):
            tokens += self._asks[call_number][1]
            if tokens >= most:
                break
        return tokens


class _Ask(NamedTuple):
    """A demand for ``room`` under ``rate``, of which ``unsettled`` is reserved and not used yet."""

    kind: str
    rate: Rate
    room: int
    unsettled: int


class _Count:
    """Of one scope.

    Attributes:
        reserved: Tokens that are set aside for requests under way: some of them will be given back.
    """

    __slots__ = ("in_flight", "queue", "reserved", "windows")

    def __init__(self) -> None:
        self.windows: dict[tuple[str, Period], Window] = {}
        self.in_flight = InFlight()
        self.reserved: dict[int, int] = {}
        self.queue = WaitQueue()

    def is_live(self, resets: Mapping[Period, float], now: float) -> bool:
        """Whether it must not be forgotten: somebody waits, or is under way, or a quota would begin anew."""
        if len(self.queue) or self.in_flight.count(now):
            return True
        return any(per in resets and window.current for (_, per), window in self.windows.items())


_UNUSED = Window()


class RateLimiter:
    """What each scope has let out. Its owner has the lock.

    Args:
        clock: The monotonic clock, in seconds.
        epoch: The wall clock, in seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float], epoch: Callable[[], float]) -> None:
        self._clock = clock
        self._epoch = epoch
        self._counts: OrderedDict[str, _Count] = OrderedDict()
        self._resets: dict[Period, float] = {"day": -math.inf}

    def full(self, meters: Sequence[Meter], tokens: int, call_number: int = 0) -> Exceeded | None:
        """The limit that holds up a request of ``tokens`` the longest; None if it may go out.

        Args:
            meters: The limits that it counts against.
            tokens: What it may use.
            call_number: The call's number in the queues; 0 for one that waits in none.
        """
        found = [one for meter in meters for one in self._obstacles(meter, tokens, call_number)]
        return max(found, key=lambda one: one.seconds, default=None)

    def _obstacles(self, meter: Meter, tokens: int, call_number: int) -> Iterator[Exceeded]:
        """Each limit that is exceeded, with room reserved for the calls that wait before this one."""
        count, limits, clock = self._counts.get(meter.scope) or _Count(), meter.limits, self._clock()
        before = count.queue.before(call_number, clock)
        for rate in limits.requests:
            room = min(before + 1, rate.amount)
            yield from self._too_many(meter, count, _Ask("requests", rate, room, 0), before)
        for rate in limits.tokens:
            room = max(tokens, min(count.queue.asked(before, rate.amount) + tokens, rate.amount))
            unsettled = sum(count.reserved.values())
            yield from self._too_many(meter, count, _Ask("tokens", rate, room, unsettled), before)
        most = limits.concurrency
        if most is not None and count.in_flight.count(clock) + before >= most:
            what = f"{most} requests at once {meter.name}"
            yield Exceeded(meter.scope, what, _poll(before // most), is_guess=True)

    def _too_many(self, meter: Meter, count: _Count, ask: _Ask, before: int) -> Iterator[Exceeded]:
        """The limit, if there is no room. Mere reservations may be released at any time, so the wait for them is short."""
        rate, now = ask.rate, self._epoch()
        window = count.windows.get((ask.kind, rate.per), _UNUSED)
        seconds = window.seconds_until_room(ask.room, rate, now)
        if seconds <= 0:
            return
        what = f"{rate.amount} {ask.kind} per {rate.per} {meter.name}"
        settled = window.minus(ask.unsettled, rate, now, now) if ask.unsettled else window
        if settled.seconds_until_room(ask.room, rate, now) <= 0:
            soon = min(seconds, LONGEST_POLL, SETTLING_SECONDS * (before + 1))
            yield Exceeded(meter.scope, what, soon, is_guess=True)
        else:
            yield Exceeded(meter.scope, what, seconds, rate.resets)

    def take(self, meters: Sequence[Meter], tokens: int, number: int, until: float) -> float:
        """Count a request that is being sent. If its end is not reported by ``until``, it is no longer in flight.

        Returns:
            The time that it counts for; 0 if it counts for nothing.
        """
        if not meters:
            return 0.0
        now = self._epoch()
        for meter in meters:
            count = self._count(meter.scope)
            for kind, rate, amount in _amounts(meter.limits, tokens):
                window = count.windows.get((kind, rate.per), _UNUSED)
                count.windows[kind, rate.per] = window.plus(amount, rate, now)
            if not count.in_flight.count(self._clock()):
                count.reserved.clear()
            count.reserved[number] = tokens
            count.in_flight.add(number, until)
        return now

    def received(self, meters: Sequence[Meter], number: int) -> None:
        """A request was answered: it is no longer under way, though what it used is not known yet."""
        for meter in meters:
            self._count(meter.scope).in_flight.remove(number)

    def settle(self, meters: Sequence[Meter], number: int, tokens: int, taken: float) -> None:
        """A request that counts for ``taken`` is over, and used so many tokens more, or fewer, than were set aside."""
        now = self._epoch() if meters else taken
        for meter in meters:
            count = self._count(meter.scope)
            count.in_flight.remove(number)
            count.reserved.pop(number, None)
            for rate in meter.limits.tokens:
                window = count.windows.get(("tokens", rate.per), _UNUSED)
                count.windows["tokens", rate.per] = (
                    window.plus(tokens, rate, now) if tokens > 0 else window.minus(-tokens, rate, taken, now)
                )

    def resets(self) -> Mapping[Period, float]:
        """When the quotas of each kind begin anew, in seconds since the epoch."""
        now = self._epoch()
        if now >= self._resets["day"]:
            self._resets = {per: resets_at(Rate(1, per), now) for per in ("day", "month")}
        return self._resets

    # Usage without reservation ---------------------------------------------------------------------------------------

    def used(self, scope: str, rate: Rate) -> float:
        """How many tokens of ``rate`` were used."""
        count = self._counts.get(scope)
        window = count.windows.get(("tokens", rate.per)) if count else None
        return window.used(rate, self._epoch()) if window else 0.0

    def use(self, scope: str, rate: Rate, tokens: int) -> None:
        """So many tokens more."""
        windows = self._count(scope).windows
        window = windows.get(("tokens", rate.per), _UNUSED)
        windows["tokens", rate.per] = window.plus(tokens, rate, self._epoch())

    # Queues -------------------------------------------------------------------------------------------------------------

    def join(self, scope: str, call_number: int, seconds: float, tokens: int) -> None:
        """Join the queue of ``scope``, or stay in it, for so many seconds, to use so many tokens."""
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
        """The one that was used longest ago, of those that nobody would miss; if need be, of all."""
        resets, now = self.resets(), self._clock()
        old = islice(self._counts.items(), _MOST_LOOKED_AT)
        unmissed = next((scope for scope, count in old if not count.is_live(resets, now)), None)
        del self._counts[unmissed if unmissed is not None else next(iter(self._counts))]


def first_reset(meters: Sequence[Meter], resets: Mapping[Period, float]) -> float:
    """When the first of the quotas of ``meters`` begins anew; infinite if there are none."""
    first = math.inf
    for meter in meters:
        for rate in meter.limits.requests + meter.limits.tokens:
            at = resets.get(rate.per)
            if at is not None and at < first:
                first = at
    return first


def _amounts(limits: Limits, tokens: int) -> Iterator[tuple[str, Rate, int]]:
    for rate in limits.requests:
        yield "requests", rate, 1
    for rate in limits.tokens:
        yield "tokens", rate, tokens


def _poll(rounds: int) -> float:
    """Seconds until it is worth looking again for whoever must let the places change hands so often before."""
    return min(LONGEST_POLL, POLL_SECONDS * (rounds + 1))
