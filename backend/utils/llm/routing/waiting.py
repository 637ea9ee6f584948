"""Candidates that are not available now: for how long, and whether a call waits or probes before that."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

from ..failures import POLICY, FailureCategory
from ..state.health import UnavailableReason
from .route import CandidateRejection, RejectionCode

if TYPE_CHECKING:
    from ..model_config import Feature
    from ..state.health import HealthTracker
    from ..state.rate_limiter import ExceededLimit
    from .route import Candidate, Needs
    from .rules import CallRoutingInputs

PROBE_POLL_SECONDS = 0.5
"""Seconds between two checks by a call that can only wait for another call's probe."""


def max_request_tokens(candidate: Candidate, needs: Needs) -> int:
    """The most tokens that a request may use: the prompt, and the answer if ``max_output_tokens`` limits it."""
    return needs.tokens + (candidate.options.max_output_tokens or 0)


def find_exceeded_rate_limit(
    candidate: Candidate, health: HealthTracker, needs: Needs, queue_number: int = 0
) -> UnavailableReason | None:
    """Find the rate limit of ``candidate`` that a request would exceed now; None if it would exceed none.

    For the arguments see `find_unavailability`.
    """
    if (limit := _exceeded(candidate, health, needs, queue_number)) is None:
        return None
    return UnavailableReason(
        limit.seconds,
        FailureCategory.QUOTA if limit.is_quota else FailureCategory.RATE_LIMIT,
        "limited",
        reason=f"no more than {limit.what}",
        scope=limit.scope,
        is_guess=limit.is_guess,
        look_in=limit.look_in,
    )


def _exceeded(
    candidate: Candidate, health: HealthTracker, needs: Needs, number: int = 0
) -> ExceededLimit | None:
    return health.traffic.rate_limiter.find_exceeded_limit(
        candidate.meters, max_request_tokens(candidate, needs), number
    )


def select_last_resorts(candidates: list[Candidate], inputs: CallRoutingInputs) -> list[Candidate]:
    """Select the unavailable candidates to try when none is available, those that may be tried soonest first.

    A candidate is left out if it may not be probed and its wait is too long for the feature.
    """
    worth = [
        (_earliest(candidate, candidate.rest, inputs), candidate)
        for candidate in candidates
        if candidate.rest is not None and can_wait_or_probe(candidate.rest, inputs.feature)
    ]
    return [candidate for _, candidate in sorted(worth, key=itemgetter(0))]


def _earliest(candidate: Candidate, why: UnavailableReason, case: CallRoutingInputs) -> tuple[float, bool]:
    """Seconds until an unavailable ``candidate`` may be tried, and whether it must be probed even then.

    Then its cooldown is over and its limits have room. A candidate that may be probed may be tried as soon as there is
    room; if another probe is in flight, a call waits before it checks again.
    """
    limit = _exceeded(candidate, case.health, case.needs)
    seconds = 0.0 if limit is None else limit.look_in
    if why.kind == "limited":
        return seconds, False
    if not why.can_probe_early:
        seconds = max(seconds, min(why.seconds, PROBE_POLL_SECONDS) if why.kind == "probing" else why.seconds)
    return seconds, why.seconds > seconds


def can_wait_or_probe(unavailability: UnavailableReason, feature: Feature) -> bool:
    """Whether a call of ``feature`` may wait until ``unavailability`` ends, or may send a probe before that."""
    return (
        unavailability.kind in {"open", "probing"}
        or unavailability.can_probe_early
        or can_wait(unavailability, feature)
    )


def can_wait(unavailability: UnavailableReason, feature: Feature) -> bool:
    """Whether a call of ``feature`` may wait until ``unavailability`` ends, without a probe before that."""
    if unavailability.kind == "limited":
        return unavailability.min_wait_seconds <= feature.deadline
    wait_pays = unavailability.kind == "cooling" and POLICY[unavailability.category].again == "retry"
    return wait_pays and unavailability.seconds <= min(feature.wait, feature.deadline)


def make_unavailable_rejection(candidate: Candidate, unavailability: UnavailableReason) -> CandidateRejection:
    """Make the rejection of ``candidate`` because it is temporarily unavailable."""
    return CandidateRejection(
        candidate, RejectionCode(unavailability.kind), str(unavailability), unavailability
    )
