"""Observers that settle what requests have used of rate limits and of tier allowances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from ...routing.rules import caller_tier_token_scope
from ...strategies import TierStrategy
from .base import TrafficObserver, never_reached_provider, used_no_tokens

if TYPE_CHECKING:
    from ...failures import ClassifiedFailure
    from ...receipt import Attempt
    from ..steps import Try


class RateLimitObserver(TrafficObserver):
    """Gives back to rate limits what was reserved for a request and not used, when the request ends.

    `Dispatch` makes the reservations when it chooses an endpoint.
    """

    @override
    def on_answer_received(self, step: Try) -> None:
        with self._traffic.lock:
            self._traffic.rate_limiter.mark_request_answered(step.candidate.meters, step.number)

    @override
    def on_ended(self, step: Try, attempt: Attempt, failure: ClassifiedFailure | None) -> None:
        arrived = not (attempt.withdrawn or never_reached_provider(failure))
        used = 0 if attempt.withdrawn else _used(attempt, failure)
        self._settle(step, used, arrived=arrived)

    @override
    def on_abandoned(self, step: Try, attempt: Attempt | None) -> None:
        used = 0 if attempt is None else _used(attempt, None)
        self._settle(step, used, arrived=attempt is not None)

    def _settle(self, step: Try, used: int | None, *, arrived: bool) -> None:
        with self._traffic.lock:
            self._traffic.rate_limiter.settle_request(
                step.candidate.meters, step.number, used, reached_provider=arrived
            )


class CallerTokenObserver(TrafficObserver):
    """Counts the tokens that each caller uses, for `TierStrategy`, which limits callers by their tier."""

    @override
    def on_ended(self, step: Try, attempt: Attempt, failure: ClassifiedFailure | None) -> None:
        select, caller = step.candidate.select, step.route.caller
        rate = (
            select.tiers[select.effective_tier(caller.tier)].tokens
            if isinstance(select, TierStrategy)
            else None
        )
        if rate is not None:
            with self._traffic.lock:
                self._traffic.rate_limiter.add_used_tokens(
                    caller_tier_token_scope(step.candidate, caller), rate, _used(attempt, failure) or 0
                )


def _used(attempt: Attempt, failure: ClassifiedFailure | None) -> int | None:
    """The tokens of an attempt; 0 if it never arrived or was refused; None if unknown, because nothing arrived in time."""
    if attempt.usage is not None:
        return attempt.usage.total
    if used_no_tokens(failure):
        return 0
    return None
