"""The route of a copy of a call, for an endpoint whose answers are only compared."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..model_config import NO_LIMITS
from .candidates import list_shadow_candidates
from .plan import build_route
from .route import ABILITIES
from .rules import CallRoutingInputs, SharedRoutingInputs

if TYPE_CHECKING:
    from datetime import date

    from ..model_config import TableSnapshot, TrafficShare
    from ..state.health import HealthTracker
    from .route import Route


def plan_shadow_route(
    snapshot: TableSnapshot,
    route: Route,
    share: TrafficShare,
    *,
    today: date,
    health: HealthTracker,
    call_id: str = "",
) -> Route:
    """Plan the shadow copy of a call: one request to the endpoint of ``share``, without retries.

    One of the operator's keys pays. ``route`` is the route of the original call.
    """
    feature = replace(
        route.feature,
        attempts=1,
        max_attempts=1,
        max_cost_usd=None,
        split=(),
        shadow=(),
        limits=NO_LIMITS,
        budgets=tuple(budget for budget in route.feature.budgets if budget.per in {"feature", "owner"}),
        on_invalid_output="raise",
        hedge=False,
    )
    caller = route.caller.without_keys().model_copy(update={"key_policy": "house_only", "budgets": ()})
    needs = route.needs._replace(streams=False)
    terms = SharedRoutingInputs(snapshot, feature, "house_only", today, *needs[:ABILITIES])
    case = CallRoutingInputs(snapshot, feature, "house_only", today, caller, needs, health, call_id)
    with health.traffic.lock:
        found = list_shadow_candidates(share, terms, needs.options)
        return build_route(case, found)._replace(is_shadow=True, demo=False)
