"""How endpoints on trial do."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ...routing.route import ON_TRIAL
from .verdicts import is_telling, unobserved

if TYPE_CHECKING:
    from ...failures import Failure
    from ...receipt import Attempt
    from ...state.traffic import Traffic
    from ..steps import Try

log = logging.getLogger(__name__)


class ExperimentObserver:
    """Compares the variants of splits, and the endpoints that only get copies."""

    started = received = unobserved

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic

    def ended(self, step: Try, attempt: Attempt, failure: Failure | None) -> None:
        """See `AttemptObserver`."""
        route = step.route
        variant, feature = route.compared_as, route.feature
        is_compared = variant == route.control or step.candidate.tier == ON_TRIAL
        if variant is None or not is_compared or not is_telling(step, failure):
            return
        experiments, seconds = self._traffic.experiments, attempt.duration.total_seconds()
        with self._traffic.lock:
            after = experiments.variant(feature.name, variant).after(
                is_ok=attempt.outcome == "ok", seconds=seconds, cost=attempt.cost_usd
            )
            stop = None if route.is_shadow else feature.stop
            reason = experiments.judge(feature.name, variant, after, stop, against=route.control)
        if reason is not None:
            log.error("the trial of %s for %s was stopped: %s", variant, feature.name, reason)
