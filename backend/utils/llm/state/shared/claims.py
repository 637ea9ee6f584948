"""The amounts that a request counts in shared limits, and the cached state of each limit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

from ...rate_limits import SECONDS
from .store import ALLOWED_SECONDS, Change, Limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ...rate_limits import Limits, Period, Rate
    from ..rate_limiter import Meter
    from .names import Names

MOST_METERS = 20_000
"""Meters whose claims are cached."""
KEPT_LONGER = 3600.0
"""Seconds for which a daily or monthly total is kept beyond its end, as clocks differ."""


class CachedLimit:
    """The state of one shared limit: the store's last answer, less what this process has taken since.

    Attributes:
        left: The amount still free; inf if unknown.
        free_at: When more becomes free, by the monotonic clock.
        asked: The amount requested from the store and not answered yet.
        allowance: The amount that may be used without an answer of the store, until ``allowed_until``.
        most_alone: The amount that may count here while the store is away, until ``ends_at``: what counted at its last
            answer, plus this process's share of what was left.
    """

    __slots__ = ("allowance", "allowed_until", "asked", "ends_at", "free_at", "left", "most_alone")

    def __init__(self) -> None:
        self.left = math.inf
        self.free_at = self.allowed_until = self.ends_at = -math.inf
        self.asked = self.allowance = self.most_alone = 0

    def allowed(self, now: float) -> int:
        """The amount that may be used at ``now`` without an answer of the store."""
        return self.allowance if now < self.allowed_until else 0

    def allow(self, amount: int, now: float) -> None:
        """Raise what may be used without asking the store by ``amount``, which is counted there already."""
        self.allowance = self.allowed(now) + amount
        self.allowed_until = max(self.allowed_until, now + ALLOWED_SECONDS)


class Claim(NamedTuple):
    """What one request counts in one shared limit: a request, its tokens, or a place among those at once."""

    limit: Limit
    unit: Literal["requests", "tokens", "places"]
    scope: str
    per: Period | None = None

    def asking(self, amount: int) -> Claim:
        """Return a copy of this claim that asks for ``amount``."""
        return self._replace(limit=self.limit._replace(ask=amount))


class _Cached(NamedTuple):
    """The claims of a request of ``tokens`` under ``limits``, until the day ends, in seconds since the epoch."""

    limits: Limits
    until: float
    tokens: int
    claims: tuple[Claim, ...]


class Claims:
    """Turns the meters of requests into claims on shared limits.

    The claims of the last request are cached until the day ends or the table changes.

    Args:
        names: The names of scopes in the store.
        epoch: The wall clock, in seconds since the epoch.
        resets: The time at which quotas of each period begin anew, in seconds since the epoch.
    """

    def __init__(
        self, names: Names, epoch: Callable[[], float], resets: Callable[[], Mapping[Period, float]]
    ) -> None:
        self._names = names
        self._epoch = epoch
        self._resets = resets
        self._cached: dict[str, _Cached] = {}

    def of(self, meter: Meter, tokens: int) -> tuple[Claim, ...]:
        """List what a request of ``tokens`` counts in each limit of ``meter``."""
        cached = self._cached.get(meter.scope)
        if cached is None or cached.limits is not meter.limits or self._epoch() >= cached.until:
            cached = _Cached(meter.limits, self._resets()["day"], 0, tuple(self._made(meter)))
        elif cached.tokens == tokens:
            return cached.claims
        claims = tuple(one if one.unit != "tokens" else one.asking(tokens) for one in cached.claims)
        if len(self._cached) > MOST_METERS:
            self._cached.clear()
        self._cached[meter.scope] = cached._replace(tokens=tokens, claims=claims)
        return claims

    def _made(self, meter: Meter) -> Iterator[Claim]:
        limits, scope = meter.limits, meter.scope
        for rate in limits.requests:
            yield Claim(self._limit(scope, "requests", rate, 1), "requests", scope, rate.per)
        for rate in limits.tokens:
            yield Claim(self._limit(scope, "tokens", rate, 0), "tokens", scope, rate.per)
        if limits.concurrency is not None:
            key = self._names.key(scope, "places")
            yield Claim(Limit(key, "places", 1, limits.concurrency), "places", scope)

    def _limit(self, scope: str, unit: str, rate: Rate, ask: int) -> Limit:
        if not rate.resets:
            key = self._names.key(scope, unit, rate.per)
            return Limit(key, "window", ask, rate.amount, SECONDS[rate.per])
        now = self._epoch()
        begins = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}"[: None if rate.per == "day" else 7]
        key = self._names.key(scope, unit, rate.per, begins)
        return Limit(key, "total", ask, rate.amount, self._resets()[rate.per] - now + KEPT_LONGER)


@dataclass(slots=True)
class CountedRequest:
    """A request that this process has counted.

    Attributes:
        name: A name that no other request has in any process.
        at: When the request was counted.
        until: When the request counts as over if its end is not reported.
        cached: The cached state of the limit of each claim.
        state: ``asked`` until the store answers; then ``granted`` or ``refused``. ``alone``: sent without the store's answer.
        buckets: For each claim, the bucket in which the store counts the request.
        is_over: Whether the request has ended; then ``tokens`` and ``arrived`` are final.
    """

    name: str
    meters: Sequence[Meter]
    tokens: int
    at: float
    until: float
    claims: tuple[Claim, ...]
    cached: tuple[CachedLimit, ...] = ()
    state: Literal["asked", "granted", "refused", "alone"] = "asked"
    buckets: tuple[int, ...] = ()
    has_place: bool = True
    is_over: bool = False
    arrived: bool = True

    def amount(self, claim: Claim) -> int:
        """The amount that the request counts for ``claim``, as far as known."""
        if claim.unit == "tokens":
            return self.tokens
        return int(self.arrived)


def bucket_at_age(limit: Limit, age: float, bucket_of: Callable[[Limit, float], int]) -> int:
    """The part of the window to which an amount counted ``age`` seconds ago belongs; -1 for a limit without a window."""
    return bucket_of(limit, age) if limit.kind == "window" else -1


def counted(request: CountedRequest) -> Iterator[Change]:
    """List what ``request`` counts, as changes of the store's counters; places among requests at once are left out."""
    for claim, bucket in zip(request.claims, request.buckets, strict=True):
        amount = request.amount(claim)
        if claim.unit != "places" and amount:
            yield Change(claim.limit, bucket, amount)


def summed(changes: Iterable[Change]) -> list[Change]:
    """Add up the amounts of changes to the same part of a window."""
    sums: dict[tuple[str, int], Change] = {}
    for one in changes:
        place = one.limit.key, one.bucket
        before = sums.get(place)
        sums[place] = one if before is None else one._replace(amount=before.amount + one.amount)
    return list(sums.values())


def in_words(claim: Claim, meter: Meter) -> str:
    """Describe the limit of ``claim`` in words, for people."""
    most = claim.limit.most
    if claim.unit == "places":
        return f"{most} requests at once {meter.name}"
    return f"{most} {claim.unit} per {claim.per} {meter.name}"
