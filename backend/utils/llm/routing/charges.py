"""The amounts that a request reserves in budgets: which counters, how much, and whether enough is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..budgets import NOTHING, BudgetBalance, BudgetCharge, next_reset_at, to_pico_usd
from ..pricing import compute_cost_on_day
from ..receipt import TokenUsage
from .route import BudgetShortfall, CandidateRejection, RejectionCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date, datetime

    from ..budgets import Budget, BudgetCounter, BudgetWindow
    from ..caller import Caller
    from ..model_config import Endpoint, Feature
    from ..options import Options
    from ..types import KeyOwner
    from .route import Candidate, Needs, Route


class CallCostInputs(Protocol):
    """The inputs that decide the size and price of a call; `CallRoutingInputs` and `Route` have them."""

    @property
    def feature(self) -> Feature:
        """The feature of the call."""
        ...

    @property
    def caller(self) -> Caller:
        """The caller of the call."""
        ...

    @property
    def needs(self) -> Needs:
        """What an endpoint must be able to do for the call, and the length of its prompt."""
        ...

    @property
    def today(self) -> date:
        """The day whose prices apply."""
        ...


class BudgetClaim(NamedTuple):
    """A budget that counts a request, and the charge: the most that the request could use of it."""

    budget: Budget
    charge: BudgetCharge


def compute_budget_claims(
    candidate: Candidate, call: CallCostInputs, now: datetime
) -> tuple[BudgetClaim, ...]:
    """Compute what a request to ``candidate`` must reserve in each budget: the most that it could use.

    Sorted in the order in which counters are locked; empty if no budget applies. A charge is 0 if the price
    is unknown.
    """
    return tuple(
        BudgetClaim(budget, BudgetCharge(window, _most(budget, candidate, call) or 0, ceiling))
        for budget, window in _windows(call, candidate.owner, now)
        for ceiling in (budget.spending_ceiling(is_stepped_down=candidate.is_lowered),)
    )


def max_budget_usage(
    budget: Budget, endpoint: Endpoint, feature: Feature, options: Options, needs: Needs, today: date
) -> int | None:
    """Compute the most that a request could use, in the unit of ``budget``; None if its price is unknown.

    Counts the whole prompt, and for chat the longest answer that options or model allow. 0 dollars for an
    endpoint that bills nothing.
    """
    answer = 0 if feature.embedding else options.max_output_tokens or endpoint.can.max_output
    if budget.unit == "tokens":
        return needs.tokens + answer
    if endpoint.provider.access != "key":
        return 0
    usd = compute_cost_on_day(today, endpoint, TokenUsage(input=needs.tokens, output=answer))
    return None if usd is None else to_pico_usd(usd)


def _most(budget: Budget, candidate: Candidate, call: CallCostInputs) -> int | None:
    return max_budget_usage(
        budget, candidate.endpoint, call.feature, candidate.options, call.needs, call.today
    )


def find_unenforceable_budget(candidate: Candidate, call: CallCostInputs) -> Budget | None:
    """Find the first budget in dollars that cannot be enforced for ``candidate``, because its price is unknown.

    None if the price is known, or if no budget in dollars applies.
    """
    if candidate.endpoint.provider.access != "key":
        return None
    in_dollars = (budget for budget, _ in _counted(call, candidate.owner) if budget.unit == "usd")
    first = next(in_dollars, None)
    return first if first is not None and _most(first, candidate, call) is None else None


def list_budget_windows(call: CallCostInputs, now: datetime) -> tuple[tuple[Budget, BudgetWindow], ...]:
    """List each budget that could count the call, whichever endpoint serves it, with its current counter."""
    owners: tuple[KeyOwner, ...] = ("house", "user")
    shared = dict.fromkeys(pair for owner in owners for pair in _windows(call, owner, now))
    return tuple(shared)


def apply_budgets(route: Route, counters: Mapping[BudgetWindow, BudgetCounter], now: datetime) -> Route:
    """Move candidates for which a budget has too little left to ``skipped``, and add the budgets' balances.

    A counter that is missing in ``counters`` is unused.
    """
    fit, over = [], []
    for candidate in route.candidates:
        rejection = find_budget_rejection(candidate, route, counters, now)
        if rejection is None:
            fit.append(candidate)
        else:
            over.append(rejection)
    balances = tuple(
        BudgetBalance(budget, window, counters.get(window, NOTHING), next_reset_at(budget.period, now))
        for budget, window in list_budget_windows(route, now)
    )
    return route._replace(
        candidates=tuple(fit), skipped=(*route.skipped, *over), budgets=route.budgets or balances
    )


def find_budget_rejection(
    candidate: Candidate, route: Route, counters: Mapping[BudgetWindow, BudgetCounter], now: datetime
) -> CandidateRejection | None:
    """Make the rejection of ``candidate`` by the first budget with too little left; None if all have enough."""
    for budget, charge in compute_budget_claims(candidate, route, now):
        counter = counters.get(charge.window, NOTHING)
        if not counter.can_reserve(charge):
            return make_budget_rejection(candidate, BudgetClaim(budget, charge), counter, now)
    return None


def make_budget_rejection(
    candidate: Candidate, claim: BudgetClaim, counter: BudgetCounter, now: datetime
) -> CandidateRejection:
    """Make the rejection of ``candidate`` because the charge of ``claim`` does not fit into ``counter``."""
    budget, charge = claim
    resets, is_held = next_reset_at(budget.period, now), counter.could_reserve_when_idle(charge)
    left = max(0, charge.ceiling + counter.raised - counter.spent - counter.reserved)
    # What is left of a user's own is told; what others have spent is not, by whatever shows a reason.
    enough = f"has {budget.format_amount(left)} left" if budget.per in {"user", "token"} else "has less left"
    here = " for this profile" if charge.ceiling < budget.cap else ""
    why = f"it could use {budget.format_amount(charge.amount)}, and the budget {budget.name} {enough}{here}"
    overrun = BudgetShortfall(
        budget.name,
        budget.per,
        resets,
        None if resets is None else (resets - now).total_seconds(),
        is_held=is_held,
        steps_down=budget.step_down_at is not None,
    )
    return CandidateRejection(candidate, RejectionCode.BUDGET, why, over=overrun)


def make_unreadable_budget_rejection(candidate: Candidate, budget: Budget) -> CandidateRejection:
    """Make the rejection of ``candidate`` because the counters of ``budget`` cannot be read."""
    why = f"the counters of the budget {budget.name} cannot be read"
    overrun = BudgetShortfall(budget.name, budget.per, None, None, is_away=True)
    return CandidateRejection(candidate, RejectionCode.BUDGET_AWAY, why, over=overrun)


def _windows(call: CallCostInputs, owner: KeyOwner, now: datetime) -> Iterator[tuple[Budget, BudgetWindow]]:
    return ((budget, budget.window_for(subject, now)) for budget, subject in _counted(call, owner))


def _counted(call: CallCostInputs, owner: KeyOwner) -> Iterator[tuple[Budget, str]]:
    """The budgets that a request with a key of ``owner`` counts for, each with its subject."""
    caller = call.caller
    subjects = {
        "feature": call.feature.name,
        "owner": owner,
        "tenant": caller.tenant_id,
        "user": caller.user,
    }
    for budget in (*call.feature.budgets, *caller.budgets):
        if (subject := subjects.get(budget.per, budget.name)) and budget.covers_key_and_tier(
            owner, caller.tier
        ):
            yield budget, subject
