"""How good an endpoint's answers are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...strategies import CostLadder
from .verdicts import is_telling, unobserved

if TYPE_CHECKING:
    from ...failures import Failure
    from ...receipt import Attempt
    from ...state.traffic import Traffic
    from ..steps import Try


class QualityObserver:
    """Scores the endpoints of cost ladders."""

    started = received = unobserved

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic

    def ended(self, step: Try, attempt: Attempt, failure: Failure | None) -> None:
        """See `AttemptObserver`."""
        candidate, score = step.candidate, _score(step, attempt)
        if score is not None and isinstance(candidate.select, CostLadder) and is_telling(step, failure):
            with self._traffic.lock:
                self._traffic.quality_scores.add(candidate.scope, str(candidate.endpoint), score)


def _score(step: Try, attempt: Attempt) -> float | None:
    """From 0 to 1; None if nobody judged the answer."""
    if attempt.score is not None or attempt.outcome == "rejected":
        return attempt.score or 0.0
    return 1.0 if attempt.outcome == "ok" and step.route.needs.structured_output else None
