"""Records quality scores of endpoints, and the results of experiments."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from typing_extensions import override

from ...routing.route import ON_TRIAL
from ...state.experiments import CONTROL
from ...strategies import CostLadderStrategy
from .base import TrafficObserver, reflects_endpoint_quality

if TYPE_CHECKING:
    from ...failures import ClassifiedFailure
    from ...receipt import Attempt
    from ...routing.route import Route
    from ..steps import Try

log = logging.getLogger(__name__)


class QualityObserver(TrafficObserver):
    """Records the scores of answers, by which `CostLadderStrategy` chooses endpoints."""

    @override
    def on_ended(self, step: Try, attempt: Attempt, failure: ClassifiedFailure | None) -> None:
        candidate, score = step.candidate, _score(step, attempt)
        if (
            score is not None
            and isinstance(candidate.select, CostLadderStrategy)
            and reflects_endpoint_quality(step, failure)
        ):
            with self._traffic.lock:
                self._traffic.quality_scores.record_score(candidate.scope, str(candidate.endpoint), score)


def _score(step: Try, attempt: Attempt) -> float | None:
    """The answer's score, from 0 to 1; None if it was not judged."""
    if attempt.score is not None or attempt.outcome == "rejected":
        return attempt.score or 0.0
    return 1.0 if attempt.outcome == "ok" and step.route.needs.structured_output else None


class ExperimentObserver(TrafficObserver):
    """Records the results of A/B experiments: of the variants of a feature's split, and of shadow endpoints.

    It stops the trial of a variant whose results are too bad.
    """

    @override
    def on_ended(self, step: Try, attempt: Attempt, failure: ClassifiedFailure | None) -> None:
        route = step.route
        control, feature = _control(route), route.feature
        variant = _variant_of(route)
        is_compared = variant == control or step.candidate.tier == ON_TRIAL
        if variant is None or not is_compared or not reflects_endpoint_quality(step, failure):
            return
        experiments, seconds = self._traffic.experiments, attempt.duration.total_seconds()
        with self._traffic.lock:
            after = experiments.variant_results(feature.name, variant).with_request(
                is_ok=attempt.outcome == "ok", seconds=seconds, cost=attempt.cost_usd
            )
            stop = None if route.is_shadow else feature.stop
            reason = experiments.record_and_judge_trial(feature.name, variant, after, stop, control=control)
        if reason is not None:
            fields = {"event": "trial.stopped", "feature": feature.name, "arm": variant, "reason": reason}
            log.error("the trial of %s for %s was stopped: %s", variant, feature.name, reason, extra=fields)


def _variant_of(route: Route) -> str | None:
    """The name of the variant that the route belongs to; None if the feature compares none."""
    if route.is_shadow:
        return f"shadow {route.candidates[0].endpoint}"
    if route.share is not None:
        return str(route.share)
    return _control(route) if route.feature.split else None


def _control(route: Route) -> str:
    """The name of the control variant, which is another one for each split."""
    return f"{CONTROL} of {', '.join(map(str, route.feature.split))}"
