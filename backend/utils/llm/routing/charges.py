"""The amounts that a request reserves in budgets: which counters, how much at most, and whether they have room."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..budgets import NOTHING, Balance, Charge, pico_usd, resets_at
from ..pricing import price_on
from ..receipt import Usage
from .route import Overrun, Rejection, SkipCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date, datetime

    from ..budgets import Budget, BudgetWindow, Counter
    from ..caller import Caller
    from ..model_config import Endpoint, Feature
    from ..options import Options
    from ..types import KeyOwner
    from .route import Candidate, Needs, Route


class Sized(Protocol):
    """The inputs that decide the size and price of a call: a `Case`, or the `Route` decided for it."""

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
        """The day whose list prices apply."""
        ...


class BudgetClaim(NamedTuple):
    """One budget that a request counts for, with the most that the request could use of it."""

    budget: Budget
    charge: Charge


def claims(candidate: Candidate, call: Sized, now: datetime) -> tuple[BudgetClaim, ...]:
    """The most that a request to ``candidate`` could use of each budget, to be reserved before it is sent.

    In the order in which counters are locked. 0 where the price is unknown; empty if no budget applies.
    """
    return tuple(
        BudgetClaim(budget, Charge(window, _most(budget, candidate, call) or 0, ceiling))
        for budget, window in _windows(call, candidate.owner, now)
        for ceiling in (budget.ceiling(is_stepped_down=candidate.is_lowered),)
    )


def most_usage(
    budget: Budget, endpoint: Endpoint, feature: Feature, options: Options, needs: Needs, today: date
) -> int | None:
    """The most that a request of ``feature`` could use, in the unit of ``budget``; None if its price is unknown.

    The most is the whole prompt and the longest answer that options or model allow; embeddings have no answer tokens.
    In dollars it is 0 for an endpoint that bills nothing.
    """
    answer = 0 if feature.embedding else options.max_output_tokens or endpoint.can.max_output
    if budget.unit == "tokens":
        return needs.tokens + answer
    if endpoint.provider.access != "key":
        return 0
    usd = price_on(today, endpoint, Usage(input=needs.tokens, output=answer))
    return None if usd is None else pico_usd(usd)


def _most(budget: Budget, candidate: Candidate, call: Sized) -> int | None:
    return most_usage(budget, candidate.endpoint, call.feature, candidate.options, call.needs, call.today)


def unpriced(candidate: Candidate, call: Sized) -> Budget | None:
    """Find the first budget in dollars that ``candidate`` cannot be checked against, because its price is unknown.

    None if the price is known, or if no budget in dollars applies.
    """
    if candidate.endpoint.provider.access != "key":
        return None
    in_dollars = (one for one, _ in _counted(call, candidate.owner) if one.unit == "usd")
    first = next(in_dollars, None)
    return first if first is not None and _most(first, candidate, call) is None else None


def windows(call: Sized, now: datetime) -> tuple[tuple[Budget, BudgetWindow], ...]:
    """List each budget that the call may count for, whichever endpoint serves it, with its counter of the current period."""
    owners: tuple[KeyOwner, ...] = ("house", "user")
    shared = dict.fromkeys(pair for owner in owners for pair in _windows(call, owner, now))
    return tuple(shared)


def within(route: Route, counters: Mapping[BudgetWindow, Counter], now: datetime) -> Route:
    """Drop the candidates of ``route`` for which a budget has no room, and add the balance of every budget.

    The dropped candidates are added to ``skipped``. A window that ``counters`` lacks counts as unused.
    """
    fit, over = [], []
    for candidate in route.candidates:
        rejection = shortage(candidate, route, counters, now)
        if rejection is None:
            fit.append(candidate)
        else:
            over.append(rejection)
    balances = tuple(
        Balance(budget, window, counters.get(window, NOTHING), resets_at(budget.period, now))
        for budget, window in windows(route, now)
    )
    return route._replace(
        candidates=tuple(fit), skipped=(*route.skipped, *over), budgets=route.budgets or balances
    )


def shortage(
    candidate: Candidate, route: Route, counters: Mapping[BudgetWindow, Counter], now: datetime
) -> Rejection | None:
    """The rejection of ``candidate`` by the first budget without room for a request; None if all budgets have room."""
    for budget, charge in claims(candidate, route, now):
        counter = counters.get(charge.window, NOTHING)
        if not counter.has_room(charge):
            return over_budget(candidate, BudgetClaim(budget, charge), counter, now)
    return None


def over_budget(candidate: Candidate, claim: BudgetClaim, counter: Counter, now: datetime) -> Rejection:
    """Build the rejection of ``candidate`` because ``counter`` has no room for ``claim``."""
    budget, charge = claim
    resets, is_held = resets_at(budget.period, now), counter.will_have_room(charge)
    left = max(0, charge.ceiling + counter.raised - counter.spent - counter.reserved)
    # What is left of a user's own is told; what others have spent is not, by whatever shows a reason.
    enough = f"has {budget.shown(left)} left" if budget.per in {"user", "token"} else "has less left"
    here = " for this profile" if charge.ceiling < budget.cap else ""
    why = f"it could use {budget.shown(charge.amount)}, and the budget {budget.name} {enough}{here}"
    overrun = Overrun(
        budget.name,
        budget.per,
        resets,
        None if resets is None else (resets - now).total_seconds(),
        is_held=is_held,
        steps_down=budget.step_down_at is not None,
    )
    return Rejection(candidate, SkipCode.BUDGET, why, over=overrun)


def uncounted_rejection(candidate: Candidate, budget: Budget) -> Rejection:
    """Build the rejection of ``candidate`` because the counters of ``budget`` cannot be read."""
    why = f"the counters of the budget {budget.name} cannot be read"
    overrun = Overrun(budget.name, budget.per, None, None, is_away=True)
    return Rejection(candidate, SkipCode.BUDGET_AWAY, why, over=overrun)


def _windows(call: Sized, owner: KeyOwner, now: datetime) -> Iterator[tuple[Budget, BudgetWindow]]:
    return ((budget, budget.window(subject, now)) for budget, subject in _counted(call, owner))


def _counted(call: Sized, owner: KeyOwner) -> Iterator[tuple[Budget, str]]:
    """The budgets that a request with a key of ``owner`` counts for, each with its subject."""
    caller = call.caller
    subjects = {
        "feature": call.feature.name,
        "owner": owner,
        "tenant": caller.tenant_id,
        "user": caller.user,
    }
    for budget in (*call.feature.budgets, *caller.budgets):
        if (subject := subjects.get(budget.per, budget.name)) and budget.counts(owner, caller.tier):
            yield budget, subject
