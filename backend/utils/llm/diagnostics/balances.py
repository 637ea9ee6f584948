"""The balances of a call's budgets, and which endpoints of its route still fit them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..routing.charges import (
    apply_budgets,
    compute_budget_claims,
    list_budget_windows,
    make_unreadable_budget_rejection,
)
from ..routing.plan import plan_route
from ..state.budget_store import BudgetStoreUnreachableError
from .explain import Explanation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ..budgets import BudgetCounter, BudgetWindow
    from ..model_config import TableSnapshot
    from ..routing.route import Route
    from ..state.budget_store import BudgetStore
    from ..state.health import HealthTracker


def apply_remaining_budgets(
    route: Explanation, snapshot: TableSnapshot, store: BudgetStore, health: HealthTracker, now: datetime
) -> Explanation:
    """Return ``route`` without the endpoints that the budgets cannot pay for at ``now``.

    ``route`` was planned as if every budget had enough left. If no endpoint remains, the next cheaper profile
    is tried, where the budget allows. Reads ``store`` if the feature has budgets: do not call this on an event
    loop if `BudgetStore.waits`.
    """
    counted = list_budget_windows(route, now)
    if not counted:
        return route
    try:
        counters = store.counters(window for _, window in counted)
    except BudgetStoreUnreachableError:
        return Explanation._make(_without_counters(route, now))
    found, profile = apply_budgets(route, counters, now), snapshot
    while not found.candidates and (lower := profile.step_down_snapshot) is not None and _steps_down(found):
        below = plan_route(
            lower, route.feature.name, route.caller, route.needs, today=route.today, health=health
        )
        found, profile = _stepped_down(found, below, counters, now), lower
    return Explanation._make(found)


def _stepped_down(
    route: Route, below: Route, counters: Mapping[BudgetWindow, BudgetCounter], now: datetime
) -> Route:
    lowered = tuple(replace(candidate, is_lowered=True) for candidate in below.candidates)
    skipped = (*route.skipped, *below.skipped)
    return apply_budgets(route._replace(candidates=lowered, skipped=skipped), counters, now)


def _steps_down(route: Route) -> bool:
    return any(skip.over is not None and skip.over.steps_down for skip in route.skipped)


def _without_counters(route: Route, now: datetime) -> Route:
    """``route`` while the store is away, without the endpoints whose budget then refuses calls."""
    closed = [
        make_unreadable_budget_rejection(candidate, claim.budget)
        for candidate in route.candidates
        for claim in compute_budget_claims(candidate, route, now)
        if claim.budget.when_away == "closed"
    ]
    kept = tuple(
        candidate for candidate in route.candidates if not any(skip.candidate is candidate for skip in closed)
    )
    return route._replace(candidates=kept, skipped=(*route.skipped, *closed))
