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
    """The number of requests and the time that a call may still use for the endpoint that just failed.

    Attributes:
        requests: How many requests may still be sent to it, without those kept for other endpoints.
        now: The current time, in seconds of the monotonic clock.
        ends_at: When the endpoint's share of the call's deadline ends, in seconds of the monotonic clock.
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
        sent: All requests of the call so far; the caller appends to the list.
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
        """Record that a request to ``candidate`` failed. Call it before the other methods: they count its failures."""
        ended = candidate.circuit, failure.category
        self._ended[ended] = self._ended.get(ended, 0) + 1
        self._hints[candidate.circuit] = failure.retry_after

    @property
    def soonest_retry_after(self) -> float | None:
        """Seconds until the first of the failed endpoints may be tried again; None if no provider said so.

        It is the shortest of the last ``Retry-After`` of each endpoint.
        """
        return min((seconds for seconds in self._hints.values() if seconds is not None), default=None)

    def _count(self, candidate: Candidate) -> int:
        """The number of requests to ``candidate`` so far."""
        return sum(step.candidate.circuit == candidate.circuit for step in self._sent)

    # The same endpoint again ---------------------------------------------------------------------------------------

    def retry_delay(self, step: Try, failure: ClassifiedFailure, left: RetryAllowance) -> float | None:
        """Return the seconds to wait before ``step`` is retried at the same endpoint; None if it is not retried.

        Call `take_retry` next, because the endpoint's retry budget may be used up.
        """
        policy, candidate = POLICY[failure.category], step.candidate
        most = candidate.endpoint.attempts or self._feature.attempts
        if policy.again == "no" or self._count(candidate) >= most or left.requests < 1:
            return None
        if policy.again == "repair":
            return self._repair_delay(candidate, left)
        if self._ended[candidate.circuit, failure.category] >= policy.tries:
            return None
        delay = self._backoff(candidate, failure)
        longest = LONGEST_WAIT if failure.retry_after is None else self._feature.wait
        return delay if delay <= longest and left.has_time_for(delay) and failure.may_retry else None

    def _repair_delay(self, candidate: Candidate, left: RetryAllowance) -> float | None:
        """Seconds before a repair: 0. Each endpoint gets one repair; on a cost ladder only the last, because the next rung is the repair."""
        if candidate.circuit in self._repaired or not left.has_time_for(0.0):
            return None
        if isinstance(candidate.select, CostLadderStrategy) and left.beside:
            return None
        self._repaired.add(candidate.circuit)
        return 0.0

    def _backoff(self, candidate: Candidate, failure: ClassifiedFailure) -> float:
        retry = self._count(candidate)
        if failure.category is FailureCategory.CONNECT and retry == 1 and failure.retry_after is None:
            return 0.0  # most likely a connection that had gone stale
        return backoff_seconds(retry, failure.retry_after, self._random)

    def take_retry(self, step: Try, failure: ClassifiedFailure) -> bool:
        """Take a retry that `retry_delay` permits from the retry budget.

        False if there is none, or the breaker is open. A repair request, which tells the model what was wrong
        with its answer, needs no budget. A call whose first request was the probe of a circuit breaker gets no
        retry: it tries other endpoints first.
        """
        candidate = step.candidate
        if POLICY[failure.category].again == "repair":
            return True
        if step.probe and self._count(candidate) == 1:
            return False
        why = self._health.find_unavailable_reason(candidate.circuit)
        is_open = why is not None and why.kind == "open"
        return not is_open and self._health.spend_retry(candidate.retry_budget_key)

    def borrow_retry(self, candidate: Candidate) -> bool:
        """Take a retry for ``candidate`` as a last resort, when the retry budget is empty. False if none is lent."""
        return self._health.spend_retry(candidate.retry_budget_key, last_resort=True)

    def start_cooldown(self, candidate: Candidate, failure: ClassifiedFailure, delay: float | None) -> None:
        """Start the cooldown of ``candidate`` for all calls, if the kind of ``failure`` causes one.

        It lasts as long as the provider asked for. If the provider named no time, it lasts ``delay`` seconds,
        the wait before this call's retry, or for None as long as is usual for this kind of failure.
        """
        policy = POLICY[failure.category]
        if policy.health == "cool endpoint":
            pause = policy.cool_seconds if delay is None else delay
            is_guess = failure.retry_after is None and delay is None
            seconds = failure.retry_after or pause
            self._health.start_cooldown(candidate.circuit, seconds, failure.category, is_guess=is_guess)
        elif policy.health == "cool key" and _is_anybodys_business(candidate, failure):
            pause = failure.retry_after or policy.cool_seconds
            self._health.start_cooldown(candidate.key_circuit, pause, failure.category)

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
        """Return ``pending`` without requests that would fail as ``step`` did, such as those with a refused key."""
        used = step.candidate
        match POLICY[failure.category].next_endpoint:
            case "larger window":
                return [one for one in pending if one.candidate.max_prompt_tokens > used.max_prompt_tokens]
            case "the same payer's":
                return [one for one in pending if one.candidate.owner == used.owner]
            case "another key" | "another key, if this one is the house's":
                return [one for one in pending if one.candidate.key_circuit != used.key_circuit]
            case _:
                return pending


def _is_anybodys_business(candidate: Candidate, failure: ClassifiedFailure) -> bool:
    """Whether a failure concerns other calls, too. A user's refused key does not: the user is told each time, and may just have fixed it."""
    return failure.category is not FailureCategory.CREDENTIAL or candidate.owner == "house"
