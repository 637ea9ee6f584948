"""The route of a copy of a call, for an endpoint whose answers are only compared."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..model_config import NO_LIMITS
from .candidates import shadow_candidates
from .plan import route_of
from .route import ABILITIES
from .rules import Case, Terms

if TYPE_CHECKING:
    from datetime import date

    from ..model_config import Share, Snapshot
    from ..state.health import Health
    from .route import Route


def shadow(
    snapshot: Snapshot, route: Route, share: Share, *, today: date, health: Health, call_id: str = ""
) -> Route:
    """Plan the shadow copy of a call: one request to the endpoint of ``share``, without retries, with one of the operator's keys."""
    feature = replace(
        route.feature,
        attempts=1,
        max_attempts=1,
        max_cost_usd=None,
        split=(),
        shadow=(),
        limits=NO_LIMITS,
        budgets=tuple(one for one in route.feature.budgets if one.per in {"feature", "owner"}),
        on_invalid_output="raise",
        hedge=False,
    )
    caller = route.caller.without_keys().model_copy(update={"key_policy": "house_only", "budgets": ()})
    needs = route.needs._replace(streams=False)
    terms = Terms(snapshot, feature, "house_only", today, *needs[:ABILITIES])
    case = Case(snapshot, feature, "house_only", today, caller, needs, health, call_id)
    with health.traffic.lock:
        found = shadow_candidates(share, terms, needs.options)
        return route_of(case, found)._replace(is_shadow=True, demo=False)
