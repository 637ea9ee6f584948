"""Observers that settle what requests have used of rate limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from ...routing.rules import tier_scope
from ...strategies import ByTier
from .base import TrafficObserver, never_arrived, used_nothing

if TYPE_CHECKING:
    from ...failures import Failure
    from ...receipt import Attempt
    from ..steps import Try


class RateLimitObserver(TrafficObserver):
    """Settles rate limits when a request ends: gives back what it has reserved and not used.

    `Dispatch` makes the reservations when it chooses an endpoint.
    """

    @override
    def received(self, step: Try) -> None:
        with self._traffic.lock:
            self._traffic.rate_limiter.received(step.candidate.meters, step.number)

    @override
    def ended(self, step: Try, attempt: Attempt, failure: Failure | None) -> None:
        arrived = not (attempt.withdrawn or never_arrived(failure))
        used = 0 if attempt.withdrawn else _used(attempt, failure)
        self._settle(step, used, arrived=arrived)

    @override
    def abandoned(self, step: Try, attempt: Attempt | None) -> None:
        used = 0 if attempt is None else _used(attempt, None)
        self._settle(step, used, arrived=attempt is not None)

    def _settle(self, step: Try, used: int | None, *, arrived: bool) -> None:
        with self._traffic.lock:
            self._traffic.rate_limiter.settle(step.candidate.meters, step.number, used, arrived=arrived)


class TierObserver(TrafficObserver):
    """Counts the tokens that each caller uses, for the allowances of the strategy `ByTier`."""

    @override
    def ended(self, step: Try, attempt: Attempt, failure: Failure | None) -> None:
        select, caller = step.candidate.select, step.route.caller
        rate = select.tiers[select.tier_of(caller.tier)].tokens if isinstance(select, ByTier) else None
        if rate is not None:
            with self._traffic.lock:
                self._traffic.rate_limiter.use(
                    tier_scope(step.candidate, caller), rate, _used(attempt, failure) or 0
                )


def _used(attempt: Attempt, failure: Failure | None) -> int | None:
    """The tokens of an attempt; 0 if it never arrived or was refused; None if unknown, because nothing arrived in time."""
    if attempt.usage is not None:
        return attempt.usage.total
    if used_nothing(failure):
        return 0
    return None
