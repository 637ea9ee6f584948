"""Candidates that are not available now: how long one is, and whether a call waits for it or probes it before its time."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

from ..failures import POLICY, Category
from ..state.health import Unavailable
from .route import Rejection, SkipCode

if TYPE_CHECKING:
    from ..model_config import Feature
    from ..state.health import Health
    from ..state.rate_limiter import Exceeded
    from .route import Candidate, Needs
    from .rules import Case

PROBE_POLL_SECONDS = 0.5
"""Seconds between two checks by a call that can only wait for another call's probe."""


def tokens_of(candidate: Candidate, needs: Needs) -> int:
    """The most tokens that a request may use: the prompt, and the answer as far as its length is limited."""
    return needs.tokens + (candidate.options.max_output_tokens or 0)


def limited(candidate: Candidate, health: Health, needs: Needs, number: int = 0) -> Unavailable | None:
    """Check the rate limits of ``candidate``: the limit without room for a request; None if all have room.

    For the arguments see `availability`.
    """
    if (limit := _exceeded(candidate, health, needs, number)) is None:
        return None
    return Unavailable(
        limit.seconds,
        Category.QUOTA if limit.is_quota else Category.RATE_LIMIT,
        "limited",
        reason=f"no more than {limit.what}",
        scope=limit.scope,
        is_guess=limit.is_guess,
        look_in=limit.look_in,
    )


def _exceeded(candidate: Candidate, health: Health, needs: Needs, number: int = 0) -> Exceeded | None:
    return health.traffic.rate_limiter.full(candidate.meters, tokens_of(candidate, needs), number)


def last_resort(able: list[Candidate], case: Case) -> list[Candidate]:
    """Select what to try when no endpoint is available: those that may be tried soonest come first.

    Left out are endpoints that cannot be probed and whose wait is too long for the feature.
    """
    worth = [
        (_earliest(one, one.rest, case), one)
        for one in able
        if one.rest is not None and is_within_reach(one.rest, case.feature)
    ]
    return [one for _, one in sorted(worth, key=itemgetter(0))]


def _earliest(candidate: Candidate, why: Unavailable, case: Case) -> tuple[float, bool]:
    """Seconds until an unavailable ``candidate`` may be tried, and whether it must be probed even then.

    Then its cooldown is over and its limits have room. A candidate that may be probed may be tried as soon as there is
    room; if another probe is in flight, a call waits before it checks again.
    """
    limit = _exceeded(candidate, case.health, case.needs)
    seconds = 0.0 if limit is None else limit.look_in
    if why.kind == "limited":
        return seconds, False
    if not why.is_probeable:
        seconds = max(seconds, min(why.seconds, PROBE_POLL_SECONDS) if why.kind == "probing" else why.seconds)
    return seconds, why.seconds > seconds


def is_within_reach(why: Unavailable, feature: Feature) -> bool:
    """Whether a call of ``feature`` may wait until the endpoint is available again, or may probe it."""
    return why.kind in {"open", "probing"} or why.is_probeable or is_worth_waiting(why, feature)


def is_worth_waiting(why: Unavailable, feature: Feature) -> bool:
    """Whether a call of ``feature`` may wait until the endpoint is available again without a probe."""
    if why.kind == "limited":
        return why.soonest <= feature.deadline
    wait_pays = why.kind == "cooling" and POLICY[why.category].again == "retry"
    return wait_pays and why.seconds <= min(feature.wait, feature.deadline)


def unavailable(candidate: Candidate, why: Unavailable) -> Rejection:
    """Build the rejection of ``candidate``, which is not available now."""
    return Rejection(candidate, SkipCode(why.kind), str(why), why)
