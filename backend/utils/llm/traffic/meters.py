"""What may still go out under a key's, an endpoint's and a feature's limits, and who waits for it, first come first served."""

from __future__ import annotations

import math
from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from ..model_config.limits import Rate
from .members import UnderWay
from .windows import Window, resets_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ..model_config.limits import Limits, Period

MOST_SCOPES = 10_000
"""Beyond this many the one that was used longest ago is forgotten: callers bring keys without end."""
POLL_SECONDS = 0.05
"""How often the first in a line looks again; the others look more seldom, by their place."""
LONGEST_POLL = 1.0
_MOST_PLACES = 20
"""Who stands further back looks as seldom as the last."""
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
        self.under_way = UnderWay()
        self.line: OrderedDict[int, float] = OrderedDict()


_UNUSED = Window()


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
        self._resets: dict[Period, float] = {"day": -math.inf}

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
        """What is in the way, with room set aside for those who stand before ``who``, as if each asked for as much."""
        count, limits = self._counts.get(meter.scope) or _Count(), meter.limits
        before, now = self._place(count, who), self._epoch()
        for kind, rate, amount in _amounts(limits, tokens):
            window = count.windows.get((kind, rate), _UNUSED)
            room = max(amount, min(amount * (before + 1), rate.amount))
            seconds = window.seconds_until_room(room, rate, now)
            if seconds > 0:
                what = f"{rate.amount} {kind} per {rate.per} {meter.name}"
                yield Full(meter.scope, what, seconds, rate.resets)
        most = limits.concurrency
        if most is not None and count.under_way.count(self._clock()) + before >= most:
            yield Full(meter.scope, f"{most} requests at once {meter.name}", _poll(before))

    def take(self, meters: Sequence[Meter], tokens: int, number: int, until: float) -> float:
        """A request goes out; if nothing is told of it ``until`` then, it is no longer under way.

        Returns:
            The time that it counts for.
        """
        now = self._epoch()
        for meter in meters:
            count = self._count(meter.scope)
            for kind, rate, amount in _amounts(meter.limits, tokens):
                count.windows[kind, rate] = count.windows.get((kind, rate), _UNUSED).plus(amount, rate, now)
            if meter.limits.concurrency is not None:
                count.under_way.add(number, until)
        return now

    def settle(self, meters: Sequence[Meter], number: int, tokens: int, taken: float) -> None:
        """A request that counts for ``taken`` is over, and used so many tokens more, or fewer, than were set aside."""
        now = self._epoch()
        for meter in meters:
            count = self._count(meter.scope)
            count.under_way.remove(number)
            for rate in meter.limits.tokens:
                window = count.windows.get(("tokens", rate), _UNUSED)
                count.windows["tokens", rate] = (
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
        window = count.windows.get(("tokens", rate)) if count else None
        return window.used(rate, self._epoch()) if window else 0.0

    def use(self, scope: str, rate: Rate, tokens: int) -> None:
        """So many tokens more."""
        windows = self._count(scope).windows
        windows["tokens", rate] = windows.get(("tokens", rate), _UNUSED).plus(tokens, rate, self._epoch())

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
        line, now = count.line, self._clock()
        while line and line[first := next(iter(line))] <= now and first != who:
            del line[first]
        places = enumerate(islice(line, _MOST_PLACES))
        return next((place for place, other in places if other == who), len(line))

    # Counts ----------------------------------------------------------------------------------------------------------

    def _count(self, scope: str) -> _Count:
        count = self._counts.setdefault(scope, _Count())
        self._counts.move_to_end(scope)
        if len(self._counts) > MOST_SCOPES:
            self._counts.popitem(last=False)
        return count


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


def _poll(place: int) -> float:
    return min(LONGEST_POLL, POLL_SECONDS * (place + 1))
