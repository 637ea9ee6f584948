"""What may still go out under a key's, an endpoint's and a feature's limits, and who waits for it, first come first served."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from .members import forget_lost
from .windows import Window, seconds_until_reset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..model_config.limits import Limits, Rate

MOST_SCOPES = 10_000
"""Beyond this many the one that was used longest ago is forgotten: callers bring keys without end."""
POLL_SECONDS = 0.05
"""How often the first in a line looks again; the others look more seldom, by their place."""
LONGEST_POLL = 1.0
GRACE_SECONDS = 1.0
"""Who does not look again so many seconds after they meant to has left the line."""


class Meter(NamedTuple):
    """Some limits, and what they hold for.

    Attributes:
        scope: What is counted together.
        name: The same for people.
    """

    scope: str
    name: str
    limits: Limits


class Full(NamedTuple):
    """Why a request may not go out now.

    Attributes:
        scope: Whose limit it is.
        what: The limit, in words.
        seconds: Until it may; infinite if never.
        is_quota: Whether it is a day's or a month's.
    """

    scope: str
    what: str
    seconds: float
    is_quota: bool = False


class _Count:
    __slots__ = ("line", "under_way", "windows")

    def __init__(self) -> None:
        self.windows: dict[tuple[str, Rate], Window] = {}
        self.under_way: dict[int, float] = {}
        self.line: OrderedDict[int, float] = OrderedDict()


class Meters:
    """What each scope has let out. Its owner has the lock.

    Args:
        clock: The monotonic clock, in seconds.
        epoch: The wall clock, in seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float], epoch: Callable[[], float]) -> None:
        self._clock = clock
        self._epoch = epoch
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    def full(self, meters: Sequence[Meter], tokens: int, who: int = 0) -> Full | None:
        """What keeps a request of ``tokens`` back for longest; None if it may go out.

        Args:
            meters: All that it counts for.
            tokens: What it may use.
            who: The call's place holder in the lines; 0 for one that stands in none.
        """
        found = [one for meter in meters for one in self._obstacles(meter, tokens, who)]
        return max(found, key=lambda one: one.seconds, default=None)

    def _obstacles(self, meter: Meter, tokens: int, who: int) -> Iterator[Full]:
        count = self._counts.get(meter.scope) or _Count()
        now = self._epoch()
        for kind, rate, amount in _amounts(meter.limits, tokens):
            window = count.windows.get((kind, rate)) or Window()
            seconds = window.seconds_until_room(amount, rate, now)
            if seconds > 0:
                yield Full(
                    meter.scope, f"{rate.amount} {kind} per {rate.per} {meter.name}", seconds, rate.resets
                )
        place = self._place(count, who)
        forget_lost(count.under_way, self._clock())
        most = meter.limits.concurrency
        if most is not None and len(count.under_way) >= most:
            yield Full(meter.scope, f"{most} requests at once {meter.name}", _poll(place))
        elif place > 0:
            yield Full(meter.scope, f"others wait for room {meter.name}", _poll(place))

    def take(self, meters: Sequence[Meter], tokens: int, number: int, until: float) -> None:
        """A request goes out; if nothing is told of it ``until`` then, it is no longer under way."""
        for meter in meters:
            count = self._count(meter.scope)
            self._add(count, meter.limits, 1, tokens)
            if meter.limits.concurrency is not None:
                count.under_way[number] = until

    def settle(self, meters: Sequence[Meter], number: int, *, requests: int = 0, tokens: int = 0) -> None:
        """A request is over, and used so many more or fewer requests and tokens than were taken."""
        for meter in meters:
            count = self._count(meter.scope)
            count.under_way.pop(number, None)
            self._add(count, meter.limits, requests, tokens)

    def seconds_until_reset(self, meters: Sequence[Meter]) -> float:
        """Until the first of their quotas begins anew; infinite if there are none."""
        now = self._epoch()
        rates = (rate for meter in meters for _, rate, _ in _amounts(meter.limits, 0) if rate.resets)
        return min((seconds_until_reset(rate, now) for rate in rates), default=math.inf)

    # Usage without reservation ---------------------------------------------------------------------------------------

    def used(self, scope: str, rate: Rate) -> float:
        """How many tokens of ``rate`` were used."""
        count = self._counts.get(scope)
        window = count.windows.get(("tokens", rate)) if count else None
        return window.used(rate, self._epoch()) if window else 0.0

    def use(self, scope: str, rate: Rate, tokens: int) -> None:
        """So many tokens more."""
        windows = self._count(scope).windows
        windows["tokens", rate] = windows.get(("tokens", rate), Window()).plus(tokens, rate, self._epoch())

    # Lines -----------------------------------------------------------------------------------------------------------

    def stand(self, scope: str, who: int, seconds: float) -> None:
        """Stand in the line of ``scope``, or go on standing there, for so many seconds."""
        self._count(scope).line[who] = self._clock() + seconds + GRACE_SECONDS

    def leave(self, scope: str, who: int) -> None:
        """Leave the line of ``scope``."""
        if (count := self._counts.get(scope)) is not None:
            count.line.pop(who, None)

    def _place(self, count: _Count, who: int) -> int:
        """How many stand before ``who``."""
        now = self._clock()
        for gone in [other for other, until in count.line.items() if until <= now and other != who]:
            del count.line[gone]
        return next((place for place, other in enumerate(count.line) if other == who), len(count.line))

    # Counts ----------------------------------------------------------------------------------------------------------

    def _add(self, count: _Count, limits: Limits, requests: int, tokens: int) -> None:
        now = self._epoch()
        for kind, rate, _ in _amounts(limits, 0):
            amount = requests if kind == "requests" else tokens
            if amount:
                count.windows[kind, rate] = count.windows.get((kind, rate), Window()).plus(amount, rate, now)

    def _count(self, scope: str) -> _Count:
        count = self._counts.setdefault(scope, _Count())
        self._counts.move_to_end(scope)
        if len(self._counts) > MOST_SCOPES:
            self._counts.popitem(last=False)
        return count


def _amounts(limits: Limits, tokens: int) -> Iterator[tuple[str, Rate, int]]:
    for rate in limits.requests:
        yield "requests", rate, 1
    for rate in limits.tokens:
        yield "tokens", rate, tokens


def _poll(place: int) -> float:
    return min(LONGEST_POLL, POLL_SECONDS * (place + 1))
