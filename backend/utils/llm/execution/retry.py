"""Decides what follows a failure: a retry at the same endpoint after a delay, or other endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..failures import LONGEST_WAIT, POLICY, FailureCategory, backoff_seconds
from ..strategies import CostLadderStrategy
from .steps import LEAST_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..failures import ClassifiedFailure
    from ..model_config import Feature
    from ..receipt import Attempt
    from ..routing.route import Candidate
    from ..state.health import Circuit, HealthTracker
    from .steps import PendingRequest, Try


class RetryAllowance(NamedTuple):
    """What a call may still spend on the endpoint that just failed.

    Attributes:
        requests: How many requests it may still get; those kept for other endpoints are not included.
        now: The current time, in seconds of the monotonic clock.
        ends_at: When its share of the call's deadline ends, in seconds of the monotonic clock.
        beside: How many endpoints of the same tier were not tried yet.
    """

    requests: int
    now: float
    ends_at: float
    beside: int

    def has_time_for(self, delay: float) -> bool:
        """Whether a retry after ``delay`` seconds begins within the endpoint's share of the call's deadline."""
        return self.now + delay + LEAST_SECONDS <= self.ends_at


class RetryPolicy:
    """Decides for one call whether a failed request is retried, and which other endpoints may be tried.

    Args:
        feature: The feature's row of the table.
        health: The state of endpoints, with cooldowns and retry budgets.
        random: Returns a random number from 0 to below 1, for the jitter of waits.
        sent: All requests of the call so far; the caller appends to this list.
    """

    def __init__(
        self, feature: Feature, health: HealthTracker, random: Callable[[], float], sent: Sequence[Try]
    ) -> None:
        self._feature = feature
        self._health = health
        self._random = random
        self._sent = sent
        self._ended: dict[tuple[Circuit, FailureCategory], int] = {}
        self._repaired: set[Circuit] = set()
        self._hints: dict[Circuit, float | None] = {}

    def record_failure(self, candidate: Candidate, failure: ClassifiedFailure) -> None:
        """Count a failed request to ``candidate``. Call it before the other methods, which use the counts."""
        ended = candidate.endpoint_circuit, failure.category
        self._ended[ended] = self._ended.get(ended, 0) + 1
        self._hints[candidate.endpoint_circuit] = failure.retry_after

    @property
    def shortest_retry_after_s(self) -> float | None:
        """The fewest seconds that the failed endpoints' last errors asked to wait; None if none of them did."""
        return min((seconds for seconds in self._hints.values() if seconds is not None), default=None)

    def _count(self, candidate: Candidate) -> int:
        """The number of requests to ``candidate`` so far."""
        return sum(step.candidate.endpoint_circuit == candidate.endpoint_circuit for step in self._sent)

    # The same endpoint again ---------------------------------------------------------------------------------------

    def retry_delay(self, step: Try, failure: ClassifiedFailure, allowance: RetryAllowance) -> float | None:
        """Return the seconds after which to retry ``step``, if `spend_retry_budget` permits it; None for no retry."""
        policy, candidate = POLICY[failure.category], step.candidate
        most = candidate.endpoint.attempts or self._feature.attempts
        if policy.again == "no" or self._count(candidate) >= most or allowance.requests < 1:
            return None
        if policy.again == "repair":
            return self._repair_delay(candidate, allowance)
        if self._ended[candidate.endpoint_circuit, failure.category] >= policy.tries:
            return None
        delay = self._backoff(candidate, failure)
        longest = LONGEST_WAIT if failure.retry_after is None else self._feature.wait
        return delay if delay <= longest and allowance.has_time_for(delay) and failure.may_retry else None

    def _repair_delay(self, candidate: Candidate, left: RetryAllowance) -> float | None:
        """Seconds before a repair: 0. Each endpoint gets one repair; on a cost ladder only the last, because the next rung is the repair."""
        if candidate.endpoint_circuit in self._repaired or not left.has_time_for(0.0):
            return None
        if isinstance(candidate.select, CostLadderStrategy) and left.beside:
            return None
        self._repaired.add(candidate.endpoint_circuit)
        return 0.0

    def _backoff(self, candidate: Candidate, failure: ClassifiedFailure) -> float:
        retry = self._count(candidate)
        if failure.category is FailureCategory.CONNECT and retry == 1 and failure.retry_after is None:
            return 0.0  # most likely a connection that had gone stale
        return backoff_seconds(retry, failure.retry_after, self._random)

    def spend_retry_budget(self, step: Try, failure: ClassifiedFailure) -> bool:
        """Take a retry of ``step`` from the endpoint's retry budget, and return whether it may be retried now.

        False if the budget is used up, the circuit breaker is open, or ``step`` was a probe and the call's first
        request to the endpoint. A repair request, which asks the model to correct its answer, needs no budget.
        """
        candidate = step.candidate
        if POLICY[failure.category].again == "repair":
            return True
        if step.probe and self._count(candidate) == 1:
            return False
        why = self._health.find_unavailable_reason(candidate.endpoint_circuit)
        is_open = why is not None and why.kind == "open"
        return not is_open and self._health.try_spend_retry(candidate.retry_budget_key)

    def borrow_retry(self, candidate: Candidate) -> bool:
        """Take a retry as a last resort, even from an empty retry budget. False if none is lent."""
        return self._health.try_spend_retry(candidate.retry_budget_key, last_resort=True)

    def start_cooldown(self, candidate: Candidate, failure: ClassifiedFailure, delay: float | None) -> None:
        """Start the cooldown of ``candidate`` or of its key for all calls, if this kind of ``failure`` causes one.

        It lasts as long as the provider asked, else ``delay`` seconds, else as long as is usual for the failure.
        """
        policy = POLICY[failure.category]
        if policy.health == "cool endpoint":
            pause = policy.cool_seconds if delay is None else delay
            is_guess = failure.retry_after is None and delay is None
            seconds = failure.retry_after or pause
            self._health.start_cooldown(
                candidate.endpoint_circuit, seconds, failure.category, is_guess=is_guess
            )
        elif policy.health == "cool key" and _is_anybodys_business(candidate, failure):
            pause = failure.retry_after or policy.cool_seconds
            self._health.start_cooldown(candidate.credential_circuit, pause, failure.category)

    # Another one ---------------------------------------------------------------------------------------------------

    def may_try_other_endpoints(
        self, step: Try, failure: ClassifiedFailure, attempts: Sequence[Attempt]
    ) -> bool:
        """Whether the call may try other endpoints after ``failure`` of ``step``."""
        match POLICY[failure.category].next_endpoint:
            case "no":
                return False
            case "another key, if this one is the house's":
                return step.candidate.owner == "house"
            case "once, if the feature allows":
                refusals = sum(attempt.category is failure.category for attempt in attempts)
                return self._feature.on_refusal == "next" and refusals <= 1
            case "if the feature allows":
                return self._feature.on_invalid_output != "raise"
            case _:
                return True

    def drop_hopeless_requests(
        self, pending: list[PendingRequest], step: Try, failure: ClassifiedFailure
    ) -> list[PendingRequest]:
        """Return ``pending`` without requests that would fail like ``step``, for example for the same invalid key."""
        used = step.candidate
        match POLICY[failure.category].next_endpoint:
            case "larger window":
                return [
                    request
                    for request in pending
                    if request.candidate.max_prompt_tokens > used.max_prompt_tokens
                ]
            case "the same payer's":
                return [request for request in pending if request.candidate.owner == used.owner]
            case "another key" | "another key, if this one is the house's":
                return [
                    request
                    for request in pending
                    if request.candidate.credential_circuit != used.credential_circuit
                ]
            case _:
                return pending


def _is_anybodys_business(candidate: Candidate, failure: ClassifiedFailure) -> bool:
    """Whether a failure concerns other calls, too. A user's refused key does not: the user is told each time, and may just have fixed it."""
    return failure.category is not FailureCategory.CREDENTIAL or candidate.owner == "house"
