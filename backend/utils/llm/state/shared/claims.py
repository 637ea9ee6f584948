"""Values: the amounts that a request counts in shared limits, and the cached state of each limit."""

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
        """Raise the allowance by ``amount``, which counts in the store and was not used."""
        self.allowance = self.allowed(now) + amount
        self.allowed_until = max(self.allowed_until, now + ALLOWED_SECONDS)


class Claim(NamedTuple):
    """The amount that a request counts in one limit."""

    limit: Limit
    unit: Literal["requests", "tokens", "places"]
    scope: str
    per: Period | None = None


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


def counted(request: CountedRequest) -> Iterator[Change]:
    """The amounts of ``request`` as changes of the store's counters, without its places."""
    for claim, bucket in zip(request.claims, request.buckets, strict=True):
        amount = request.amount(claim)
        if claim.unit != "places" and amount:
            yield Change(claim.limit, bucket, amount)


def summed(changes: Iterable[Change]) -> list[Change]:
    """The changes, with amounts for the same bucket added up."""
    sums: dict[tuple[str, int], Change] = {}
    for one in changes:
        place = one.limit.key, one.bucket
        before = sums.get(place)
        sums[place] = one if before is None else one._replace(amount=before.amount + one.amount)
    return list(sums.values())


def in_words(claim: Claim, meter: Meter) -> str:
    """The limit of ``claim``, in words."""
    most = claim.limit.most
    if claim.unit == "places":
        return f"{most} requests at once {meter.name}"
    return f"{most} {claim.unit} per {claim.per} {meter.name}"
