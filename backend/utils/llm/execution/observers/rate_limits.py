"""What requests use of the limits that they count for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from ...failures import Category
from ...routing.plan import tokens_of
from ...routing.rules import tier_scope
from ...strategies import ByTier
from ...transport import ERROR_STATUS
from .base import AttemptObserver

if TYPE_CHECKING:
    from ...failures import Failure
    from ...receipt import Attempt
    from ...state.traffic import Traffic
    from ..steps import Try

_NEVER_ARRIVED = frozenset({Category.CONNECT, Category.UNWORDED})


class RateLimitObserver(AttemptObserver):
    """Gives back what was set aside, and was not used. Setting it aside is part of choosing: see `Dispatch`."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic

    @override
    def received(self, step: Try) -> None:
        with self._traffic.lock:
            self._traffic.rate_limiter.received(step.candidate.meters, step.number)

    @override
    def ended(self, step: Try, attempt: Attempt, failure: Failure | None) -> None:
        if attempt.usage is not None:
            used = attempt.usage.total
        else:
            used = 0 if _is_unbilled(failure) else step.tokens
        with self._traffic.lock:
            self._traffic.rate_limiter.settle(
                step.candidate.meters, step.number, used - step.tokens, step.reserved_at
            )


class TierObserver(AttemptObserver):
    """Counts what a caller's tier has used of its tokens."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic

    @override
    def ended(self, step: Try, attempt: Attempt, _: Failure | None) -> None:
        select, caller = step.candidate.select, step.route.caller
        rate = select.tiers[select.tier_of(caller.tier)].tokens if isinstance(select, ByTier) else None
        if rate is not None:
            with self._traffic.lock:
                self._traffic.rate_limiter.use(tier_scope(step.candidate, caller), rate, _used(step, attempt))


def _used(step: Try, attempt: Attempt) -> int:
    """The tokens of an attempt; of one that was broken off, what it may have used."""
    if attempt.usage is not None:
        return attempt.usage.total
    if attempt.status is None or attempt.status >= ERROR_STATUS:
        return 0
    return max(tokens_of(step.candidate, step.route.needs), attempt.handed_on)


def _is_unbilled(failure: Failure | None) -> bool:
    """Whether it certainly used no tokens: it never arrived, or was refused."""
    if failure is None:
        return False
    return failure.category in _NEVER_ARRIVED or (failure.status or 0) >= ERROR_STATUS
