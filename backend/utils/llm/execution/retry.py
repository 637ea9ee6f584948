"""Decides what follows a failure: a retry at the same endpoint and its delay, or which other endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..failures import LONGEST_WAIT, POLICY, Category, backoff
from ..strategies import CostLadder
from .steps import LEAST_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..failures import Failure
    from ..model_config import Feature
    from ..receipt import Attempt
    from ..routing.route import Candidate
    from ..state.health import Circuit, Health
    from .steps import Pending, Try


class RetryAllowance(NamedTuple):
    """The requests and the time that a call has left for the endpoint that has just failed.

    Attributes:
        requests: The number of requests that the call may still send, without those reserved for other endpoints.
        now: The time now, in seconds of the monotonic clock.
        ends_at: When the endpoint's share of the deadline ends, by the same clock.
        beside: The number of endpoints of the same tier that were not tried yet.
    """

    requests: int
    now: float
    ends_at: float
    beside: int

    def has_time_for(self, delay: float) -> bool:
        """Whether a retry after ``delay`` seconds begins within the endpoint's share of the deadline."""
        return self.now + delay + LEAST_SECONDS <= self.ends_at


class RetryPolicy:
    """Decides whether a failed request is retried at the same endpoint, and which other endpoints may follow.

    It goes by the outcomes of the call's requests so far.

    Args:
        random: A random number, at least 0 and less than 1, for the jitter of waits.
        sent: All requests of the call so far.
    """

    def __init__(
        self, feature: Feature, health: Health, random: Callable[[], float], sent: Sequence[Try]
    ) -> None:
        self._feature = feature
        self._health = health
        self._random = random
        self._sent = sent
        self._ended: dict[tuple[Circuit, Category], int] = {}
        self._repaired: set[Circuit] = set()
        self._hints: dict[Circuit, float | None] = {}

    def failed(self, candidate: Candidate, failure: Failure) -> None:
        """Remember ``failure`` of a request to ``candidate``: later decisions count tries and read the provider's hint."""
        ended = candidate.circuit, failure.category
        self._ended[ended] = self._ended.get(ended, 0) + 1
        self._hints[candidate.circuit] = failure.retry_after

    @property
    def hint(self) -> float | None:
        """Seconds until the first endpoint may be tried again, by the last hints of the providers; None if none gave a hint."""
        return min((seconds for seconds in self._hints.values() if seconds is not None), default=None)

    def _count(self, candidate: Candidate) -> int:
        """The number of requests to ``candidate`` so far."""
        return sum(step.candidate.circuit == candidate.circuit for step in self._sent)

    # The same endpoint again ---------------------------------------------------------------------------------------

    def delay(self, step: Try, failure: Failure, left: RetryAllowance) -> float | None:
        """Decide whether the same endpoint is tried again: the seconds to wait before, or None if it is not.

        Call `is_granted` next, because the retry budget may be spent.
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
        if isinstance(candidate.select, CostLadder) and left.beside:
            return None
        self._repaired.add(candidate.circuit)
        return 0.0

    def _backoff(self, candidate: Candidate, failure: Failure) -> float:
        retry = self._count(candidate)
        if failure.category is Category.CONNECT and retry == 1 and failure.retry_after is None:
            return 0.0  # most likely a connection that had gone stale
        return backoff(retry, failure.retry_after, self._random)

    def is_granted(self, step: Try, failure: Failure) -> bool:
        """Take a retry that `delay` permits from the retry budget; False if none is left, or if the breaker is open.

        A repair, which tells the model what was wrong with its answer, costs none.

        A call whose first request was a probe gets no retry: other endpoints are tried first.
        """
        candidate = step.candidate
        if POLICY[failure.category].again == "repair":
            return True
        if step.probe and self._count(candidate) == 1:
            return False
        why = self._health.availability(candidate.circuit)
        is_open = why is not None and why.kind == "open"
        return not is_open and self._health.may_retry(candidate.budget_key)

    def borrow_retry(self, candidate: Candidate) -> bool:
        """Take a retry for ``candidate``, which even an empty retry budget may lend, as nothing else is left; False if it does not."""
        return self._health.may_retry(candidate.budget_key, last_resort=True)

    def cool(self, candidate: Candidate, failure: Failure, delay: float | None) -> None:
        """Put ``candidate`` on cooldown for all calls: for the time that its provider asks, that this call waits, or that the policy says."""
        policy = POLICY[failure.category]
        if policy.health == "cool endpoint":
            pause = policy.cool_seconds if delay is None else delay
            is_guess = failure.retry_after is None and delay is None
            seconds = failure.retry_after or pause
            self._health.cool(candidate.circuit, seconds, failure.category, is_guess=is_guess)
        elif policy.health == "cool key" and _is_anybodys_business(candidate, failure):
            pause = failure.retry_after or policy.cool_seconds
            self._health.cool(candidate.key_circuit, pause, failure.category)

    # Another one ---------------------------------------------------------------------------------------------------

    def may_move_on(self, step: Try, failure: Failure, attempts: Sequence[Attempt]) -> bool:
        """Whether the call may go on with another endpoint after ``failure`` of ``step``."""
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

    def allowed(self, pending: list[Pending], step: Try, failure: Failure) -> list[Pending]:
        """Filter ``pending``: drop the requests that would fail like ``step``, such as those with the same refused key."""
        used = step.candidate
        match POLICY[failure.category].next_endpoint:
            case "larger window":
                return [one for one in pending if one.candidate.room > used.room]
            case "the same payer's":
                return [one for one in pending if one.candidate.owner == used.owner]
            case "another key" | "another key, if this one is the house's":
                return [one for one in pending if one.candidate.key_circuit != used.key_circuit]
            case _:
                return pending


def _is_anybodys_business(candidate: Candidate, failure: Failure) -> bool:
    """Whether a failure concerns other calls, too. A user's refused key does not: the user is told each time, and may just have fixed it."""
    return failure.category is not Category.CREDENTIAL or candidate.owner == "house"
