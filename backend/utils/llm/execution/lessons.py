"""What others may learn of one attempt: whether its endpoint is alive, how quick, how full, how good."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..failures import POLICY, Category
from ..model_config import ByTier, CostLadder
from ..routing.plan import tokens_of
from ..routing.route import ON_TRIAL
from ..routing.rules import tier_scope
from ..routing.selection import tier_of, timed
from ..state.traffic import Sent
from ..transport import ERROR_STATUS

if TYPE_CHECKING:
    from ..failures import Failure
    from ..receipt import Attempt
    from ..routing.route import Candidate, Route
    from ..state.health import Health
    from ..state.traffic import Reservation
    from .steps import Try

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
"""A time-out after less than this, cut short by the call's deadline, says nothing about the endpoint."""
_OF_THE_ENDPOINT = frozenset({Category.MODEL_NOT_FOUND, Category.UNSUPPORTED})
_NEVER_ARRIVED = frozenset({Category.CONNECT, Category.UNWORDED})
_GIVEN_UP = frozenset({Category.CANCELLED, Category.TIMEOUT})
_OF_THE_KEY = frozenset({Category.CREDENTIAL, Category.QUOTA})


class Lessons:
    """Tells health and traffic what became of a call's attempts."""

    def __init__(self, route: Route, health: Health) -> None:
        self._route = route
        self._health = health
        self._hedges = route.feature.hedge

    def began(self, candidate: Candidate, most_seconds: float) -> Reservation:
        """A request goes out, which may take so long."""
        needs = self._route.needs
        tokens = tokens_of(candidate, needs)
        return self._health.traffic.begin(
            candidate.target, candidate.meters, tokens, most_seconds, timed(needs)
        )

    def received(self, step: Try) -> None:
        """The endpoint is done with it: whoever tests the answer does not keep others out meanwhile."""
        self._health.traffic.received(step.reservation)

    def succeeded(self, step: Try, attempt: Attempt) -> None:
        """It was answered, and the answer is handed on."""
        candidate, sent = step.candidate, self._sent(attempt)
        self._health.answered(candidate.circuit)
        self._health.traffic.answered(step.reservation, sent)
        if self._hedges:
            self._time(candidate, sent, is_known=True)
        self._judge(candidate, attempt)
        self._count(candidate, attempt)

    def failed(self, step: Try, attempt: Attempt, failure: Failure, delay: float | None) -> None:
        """It went wrong, and is tried again after ``delay`` seconds, if that is not None."""
        candidate, was_patient = step.candidate, _was_patient(step, failure)
        self._cool(candidate, failure, delay)
        is_its_fault = POLICY[failure.category].health in {"counts", "cool endpoint"} and was_patient
        tell = self._health.traffic.failed if is_its_fault else self._health.traffic.ended
        sent = self._sent(attempt, failure)
        tell(step.reservation, sent)
        if self._hedges:
            self._time_failure(candidate, attempt, failure, sent)
        if was_patient and _says_something(candidate, failure):
            self._judge(candidate, attempt)
        self._count(candidate, attempt)

    def _sent(self, attempt: Attempt, failure: Failure | None = None) -> Sent:
        is_to_first = timed(self._route.needs) == "first_token"
        time = attempt.first_token if is_to_first and attempt.first_token is not None else attempt.duration
        used = attempt.usage.total if attempt.usage else None
        return Sent(time.total_seconds(), used, is_known_unused=used is None and _is_unbilled(failure))

    def _time_failure(self, candidate: Candidate, attempt: Attempt, failure: Failure, sent: Sent) -> None:
        """An answer that was rejected took its time, and what was given up took at least that. Nothing else tells any."""
        is_known = POLICY[failure.category].is_rejection or attempt.first_token is not None
        if is_known or failure.category in _GIVEN_UP:
            self._time(candidate, sent, is_known=is_known)

    def _time(self, candidate: Candidate, sent: Sent, *, is_known: bool) -> None:
        """How long it took, or at least took: what others of the feature are measured by, before they are hedged."""
        feature, traffic = self._route.feature.name, self._health.traffic
        with traffic.lock:
            tail = traffic.tail_latency.of(feature, str(candidate.endpoint), timed(self._route.needs))
            (tail.took if is_known else tail.took_at_least)(sent.seconds)

    # Health ----------------------------------------------------------------------------------------------------------

    def taught(self, step: Try, failure: Failure) -> None:
        """Whether its endpoint is alive. Told before it is decided what comes next."""
        policy, circuit, health = POLICY[failure.category], step.candidate.circuit, self._health
        if policy.health == "counts" and _was_patient(step, failure):
            health.failed(circuit, failure.category, was_probe=step.probe)
        elif policy.health not in {"counts", "nothing"}:
            health.answered(circuit)
        elif step.probe:
            health.release(circuit)

    def _cool(self, candidate: Candidate, failure: Failure, delay: float | None) -> None:
        """Let everybody leave it alone: as long as the provider asks, or we wait ourselves, or its kind is worth."""
        policy = POLICY[failure.category]
        if policy.health == "cool endpoint":
            pause = policy.cool_seconds if delay is None else delay
            self._health.cool(candidate.circuit, failure.retry_after or pause, failure.category)
        elif policy.health == "cool key" and _is_anybodys_business(candidate, failure):
            pause = failure.retry_after or policy.cool_seconds
            self._health.cool(candidate.key_circuit, pause, failure.category)

    # Trials, scores, tiers -------------------------------------------------------------------------------------------

    def _judge(self, candidate: Candidate, attempt: Attempt) -> None:
        """What it says about an endpoint on trial, or about the control; and about the rung of a ladder."""
        is_ok, traffic = attempt.outcome == "ok", self._health.traffic
        score = self._score(attempt) if isinstance(candidate.select, CostLadder) else None
        if score is not None:
            with traffic.lock:
                traffic.quality_scores.add(candidate.scope, str(candidate.endpoint), score)
        arm = self._route.compared_as
        if arm is not None and (arm == self._route.control or candidate.tier == ON_TRIAL):
            self._compare(arm, attempt, is_ok=is_ok)

    def _score(self, attempt: Attempt) -> float | None:
        """How good its answer is; None if nobody judged it."""
        if attempt.score is not None or attempt.outcome == "rejected":
            return attempt.score or 0.0
        was_judged = attempt.outcome == "ok" and self._route.needs.structured_output
        return 1.0 if was_judged else None

    def _compare(self, arm: str, attempt: Attempt, *, is_ok: bool) -> None:
        feature, traffic = self._route.feature, self._health.traffic
        seconds = attempt.duration.total_seconds()
        with traffic.lock:
            after = traffic.experiments.variant(feature.name, arm).after(
                is_ok=is_ok, seconds=seconds, cost=attempt.cost_usd
            )
            stop = None if self._route.is_shadow else feature.stop
            reason = traffic.experiments.judge(feature.name, arm, after, stop, against=self._route.control)
        if reason is not None:
            log.error("the trial of %s for %s was stopped: %s", arm, feature.name, reason)

    def _count(self, candidate: Candidate, attempt: Attempt) -> None:
        """What a caller's tier has used of its tokens."""
        select, caller = candidate.select, self._route.caller
        if not isinstance(select, ByTier):
            return
        rate, traffic = select.tiers[tier_of(select, caller)].tokens, self._health.traffic
        if rate is not None:
            with traffic.lock:
                traffic.rate_limiter.use(tier_scope(candidate, caller), rate, self._used(candidate, attempt))

    def _used(self, candidate: Candidate, attempt: Attempt) -> int:
        """The tokens of an attempt; of one that was broken off, what it may have used."""
        if attempt.usage is not None:
            return attempt.usage.total
        is_refused = attempt.status is None or attempt.status >= ERROR_STATUS
        return 0 if is_refused else max(tokens_of(candidate, self._route.needs), attempt.handed_on)


def _says_something(candidate: Candidate, failure: Failure) -> bool:
    """Whether it says something about the endpoint, and not about the one call, or a caller's key."""
    policy, category = POLICY[failure.category], failure.category
    if category in _OF_THE_KEY:
        return candidate.owner == "house"
    return policy.health in {"counts", "cool endpoint"} or policy.is_rejection or category in _OF_THE_ENDPOINT


def _is_unbilled(failure: Failure | None) -> bool:
    """Whether it certainly used no tokens: it never arrived, or was refused."""
    if failure is None:
        return False
    return failure.category in _NEVER_ARRIVED or (failure.status or 0) >= ERROR_STATUS


def _was_patient(step: Try, failure: Failure) -> bool:
    """Whether a time-out is the endpoint's fault, not that of a caller in a hurry."""
    if failure.category is not Category.TIMEOUT or failure.status is not None:
        return True
    return step.seconds >= PATIENCE_SECONDS or step.seconds >= step.candidate.options.timeout


def _is_anybodys_business(candidate: Candidate, failure: Failure) -> bool:
    """A user's refused key is told to the user, each time: they may have just mended it."""
    return failure.category is not Category.CREDENTIAL or candidate.owner == "house"
