"""The amounts that a request counts in shared limits, and the cached state of each limit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

from ...rate_limits import SECONDS
from .store import ALLOWED_SECONDS, CounterChange, SharedLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ...rate_limits import Limits, Period, RateLimit
    from ..rate_limiter import MeteredScope
    from .names import HashedNames

MOST_METERS = 20_000
"""Meters whose claims are cached."""
KEPT_LONGER = 3600.0
"""Seconds for which a daily or monthly total is kept beyond its end, as clocks differ."""


class CachedSharedLimit:
    """What this process knows of a shared limit: the store's last answer, less what was taken here since.

    Attributes:
        left: The amount still free; inf if unknown.
        free_at: When more becomes free, by the monotonic clock.
        asked: The amount requested from the store and not answered yet.
        allowance: The amount that this process may use without the store's answer, until ``allowed_until``.
        most_alone: The most that this process may count while the store is unreachable, until ``ends_at``:
            its count at the store's last answer, plus this process's share of the amount left.
    """

    __slots__ = ("allowance", "allowed_until", "asked", "ends_at", "free_at", "left", "most_alone")

    def __init__(self) -> None:
        self.left = math.inf
        self.free_at = self.allowed_until = self.ends_at = -math.inf
        self.asked = self.allowance = self.most_alone = 0

    def allowance_at(self, now: float) -> int:
        """The amount that this process may use at ``now`` without the store's answer."""
        return self.allowance if now < self.allowed_until else 0

    def add_allowance(self, amount: int, now: float) -> None:
        """Add ``amount`` to the allowance. The store counts this amount already."""
        self.allowance = self.allowance_at(now) + amount
        self.allowed_until = max(self.allowed_until, now + ALLOWED_SECONDS)


class LimitClaim(NamedTuple):
    """What one request takes from one shared limit: one request, its tokens, or a slot for requests in flight."""

    limit: SharedLimit
    unit: Literal["requests", "tokens", "places"]
    scope: str
    per: Period | None = None

    def with_amount(self, amount: int) -> LimitClaim:
        """Return a copy of this claim that asks for ``amount``."""
        return self._replace(limit=self.limit._replace(ask=amount))


class _Cached(NamedTuple):
    """The claims of a request of ``tokens`` under ``limits``, until the day ends, in seconds since the epoch."""

    limits: Limits
    until: float
    tokens: int
    claims: tuple[LimitClaim, ...]


class LimitClaimBuilder:
    """Builds the claims that a request makes on shared limits.

    The claims of the last request in each scope are cached until the day ends or the limits change.

    Args:
        names: Hashes the names of scopes for the store.
        epoch: The wall clock, in seconds since the epoch.
        resets: Returns when the quotas of each period are reset next, in seconds since the epoch.
    """

    def __init__(
        self, names: HashedNames, epoch: Callable[[], float], resets: Callable[[], Mapping[Period, float]]
    ) -> None:
        self._names = names
        self._epoch = epoch
        self._resets = resets
        self._cached: dict[str, _Cached] = {}

    def build_claims(self, meter: MeteredScope, tokens: int) -> tuple[LimitClaim, ...]:
        """Return the claims of a request of ``tokens`` on each limit of ``meter``."""
        cached = self._cached.get(meter.scope)
        if cached is None or cached.limits is not meter.limits or self._epoch() >= cached.until:
            cached = _Cached(meter.limits, self._resets()["day"], 0, tuple(self._made(meter)))
        elif cached.tokens == tokens:
            return cached.claims
        claims = tuple(
            claim if claim.unit != "tokens" else claim.with_amount(tokens) for claim in cached.claims
        )
        if len(self._cached) > MOST_METERS:
            self._cached.clear()
        self._cached[meter.scope] = cached._replace(tokens=tokens, claims=claims)
        return claims

    def _made(self, meter: MeteredScope) -> Iterator[LimitClaim]:
        limits, scope = meter.limits, meter.scope
        for rate in limits.requests:
            yield LimitClaim(self._limit(scope, "requests", rate, 1), "requests", scope, rate.per)
        for rate in limits.tokens:
            yield LimitClaim(self._limit(scope, "tokens", rate, 0), "tokens", scope, rate.per)
        if limits.concurrency is not None:
            key = self._names.counter_key(scope, "places")
            yield LimitClaim(SharedLimit(key, "places", 1, limits.concurrency), "places", scope)

    def _limit(self, scope: str, unit: str, rate: RateLimit, ask: int) -> SharedLimit:
        if not rate.is_calendar_quota:
            key = self._names.counter_key(scope, unit, rate.per)
            return SharedLimit(key, "window", ask, rate.amount, SECONDS[rate.per])
        now = self._epoch()
        begins = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}"[: None if rate.per == "day" else 7]
        key = self._names.counter_key(scope, unit, rate.per, begins)
        return SharedLimit(key, "total", ask, rate.amount, self._resets()[rate.per] - now + KEPT_LONGER)


@dataclass(slots=True)
class CountedRequest:
    """A request that this process has counted against shared limits.

    Attributes:
        name: A name that no other request has in any process.
        at: When the request was counted, by the monotonic clock.
        until: When the request counts as ended if its end is not reported.
        cached: What this process knows of the limit of each claim.
        state: ``asked`` until the store answers; then ``granted`` or ``refused``. ``alone``: sent without
            the answer.
        buckets: For each claim, the part of the window in which the store counts the request.
        has_place: Whether the request still holds its slot among the requests in flight.
        is_over: Whether the request has ended; then ``tokens`` and ``arrived`` are final.
        arrived: Whether the request reached the provider.
    """

    name: str
    meters: Sequence[MeteredScope]
    tokens: int
    at: float
    until: float
    claims: tuple[LimitClaim, ...]
    cached: tuple[CachedSharedLimit, ...] = ()
    state: Literal["asked", "granted", "refused", "alone"] = "asked"
    buckets: tuple[int, ...] = ()
    has_place: bool = True
    is_over: bool = False
    arrived: bool = True

    def amount_for(self, claim: LimitClaim) -> int:
        """The amount counted for ``claim``: the request's tokens; else 1, or 0 if it did not reach the provider."""
        if claim.unit == "tokens":
            return self.tokens
        return int(self.arrived)


def find_window_bucket(
    limit: SharedLimit, age: float, bucket_at_age: Callable[[SharedLimit, float], int]
) -> int:
    """Return the bucket of the limit's window for an amount of ``age`` seconds ago; -1 without a window."""
    return bucket_at_age(limit, age) if limit.kind == "window" else -1


def iter_counter_changes(request: CountedRequest) -> Iterator[CounterChange]:
    """Yield the counter changes by which the store counts ``request``, except for its slot in flight."""
    for claim, bucket in zip(request.claims, request.buckets, strict=True):
        amount = request.amount_for(claim)
        if claim.unit != "places" and amount:
            yield CounterChange(claim.limit, bucket, amount)


def merge_counter_changes(changes: Iterable[CounterChange]) -> list[CounterChange]:
    """Merge the changes of each counter and bucket into one change with the sum of their amounts."""
    sums: dict[tuple[str, int], CounterChange] = {}
    for change in changes:
        place = change.limit.key, change.bucket
        before = sums.get(place)
        sums[place] = change if before is None else change._replace(amount=before.amount + change.amount)
    return list(sums.values())


def describe_limit(claim: LimitClaim, meter: MeteredScope) -> str:
    """Describe the limit of ``claim`` for people, such as ``60 requests per minute to openai:gpt-6-luna``."""
    most = claim.limit.most
    if claim.unit == "places":
        return f"{most} requests at once {meter.name}"
    return f"{most} {claim.unit} per {claim.per} {meter.name}"
