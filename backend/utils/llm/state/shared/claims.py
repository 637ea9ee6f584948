"""What a request counts for under shared limits, and what the store has said of these, as values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from .store import ALLOWED_SECONDS, Change, Limit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ...rate_limits import Period
    from ..rate_limiter import Meter


class CachedLimit:
    """What the store said last of one limit, less what was taken since.

    Attributes:
        left: How much may still be taken; infinite if nobody knows.
        free_at: When there is more, by the monotonic clock.
        asked: How much was asked for that is not answered yet.
        allowance: How much may go out although the store is silent, until ``allowed_until``.
        most_alone: How much may count here while the store is gone, until ``ends_at``: what counted when it spoke, and a share of what
            was left.
    """

    __slots__ = ("allowance", "allowed_until", "asked", "ends_at", "free_at", "left", "most_alone")

    def __init__(self) -> None:
        self.left = math.inf
        self.free_at = self.allowed_until = self.ends_at = -math.inf
        self.asked = self.allowance = self.most_alone = 0

    def allowed(self, now: float) -> int:
        """How much may go out now although the store is silent."""
        return self.allowance if now < self.allowed_until else 0

    def allow(self, amount: int, now: float) -> None:
        """So much more may: it counts in the store, and is not used any more."""
        self.allowance = self.allowed(now) + amount
        self.allowed_until = max(self.allowed_until, now + ALLOWED_SECONDS)


class Claim(NamedTuple):
    """What a request counts for in one limit."""

    limit: Limit
    unit: Literal["requests", "tokens", "places"]
    scope: str
    per: Period | None = None


@dataclass(slots=True)
class CountedRequest:
    """A request that was counted here.

    Attributes:
        name: What no other one has in any process.
        at: When it was counted.
        until: When it counts as over if nobody says so.
        words: What the store said of each claim.
        state: ``asked`` until the store has answered; ``granted`` by it, ``refused``, or let out ``alone``, without its word.
        buckets: Where it is counted, for each claim.
        is_over: Whether it has ended; then it used ``tokens``, and ``arrived``.
    """

    name: str
    meters: Sequence[Meter]
    tokens: int
    at: float
    until: float
    claims: tuple[Claim, ...]
    words: tuple[CachedLimit, ...] = ()
    state: Literal["asked", "granted", "refused", "alone"] = "asked"
    buckets: tuple[int, ...] = ()
    has_place: bool = True
    is_over: bool = False
    arrived: bool = True

    def amount(self, claim: Claim) -> int:
        """What it counts for, as far as that is known."""
        if claim.unit == "tokens":
            return self.tokens
        return int(self.arrived)


def counted(request: CountedRequest) -> Iterator[Change]:
    """Its own part of each limit."""
    for claim, bucket in zip(request.claims, request.buckets, strict=True):
        amount = request.amount(claim)
        if claim.unit != "places" and amount:
            yield Change(claim.limit, bucket, amount)


def summed(changes: Iterable[Change]) -> list[Change]:
    """One change for each bucket."""
    sums: dict[tuple[str, int], Change] = {}
    for one in changes:
        place = one.limit.key, one.bucket
        before = sums.get(place)
        sums[place] = one if before is None else one._replace(amount=before.amount + one.amount)
    return list(sums.values())


def in_words(claim: Claim, meter: Meter) -> str:
    """The limit, in words."""
    most = claim.limit.most
    if claim.unit == "places":
        return f"{most} requests at once {meter.name}"
    return f"{most} {claim.unit} per {claim.per} {meter.name}"
