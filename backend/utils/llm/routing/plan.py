"""Decides which endpoints may serve a call, in which order, with whose key; and why the others may not.

What `explain` shows is what a call made at that moment does, because both call `plan`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from ..failures import POLICY, Category
from ..model_config import NO_LIMITS
from ..state.health import MemoryHealth, Unavailable
from ..strategies import Custom
from .candidates import copied_to, known, with_own, with_users_key
from .route import Hedge, Rejection, Route, SkipCode
from .rules import CALL_RULES, KEY_RULES, Case, Terms, rejected
from .selection import ordered, selection_context, timed
from .split import trial

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from ..caller import Caller
    from ..model_config import Feature, Share, Snapshot
    from ..state.health import Circuit, Health
    from ..state.rate_limiter import Exceeded
    from ..types import KeyPolicy
    from .candidates import Known
    from .route import Candidate, Needs

LEAST_REQUESTS = 2
"""A call that may send fewer in all has none for a hedge."""


def plan(
    snapshot: Snapshot,
    feature: str,
    caller: Caller,
    needs: Needs,
    *,
    today: date,
    health: Health | None = None,
) -> Route:
    """Decide how a call of ``feature`` by ``caller`` would be served.

    Args:
        snapshot: The table.
        feature: A feature of the table.
        caller: Who asks.
        needs: What the call needs of an endpoint.
        today: The day, for models that retire.
        health: What earlier calls taught; None if there were none.

    Raises:
        UnknownFeatureError: If the table holds no such feature. Nothing else: a call that no endpoint may serve is a
            route without candidates.
    """
    named = snapshot.feature(feature)
    policy = caller.policy_for(named)
    own = None if policy == "house_only" else caller.own_endpoint
    terms = _terms(snapshot, named, policy, today, needs)
    if own is not None:  # trials, copies and hedges are between the table's endpoints
        named = replace(named, split=(), shadow=(), hedge=False)
    if health is None:
        health = MemoryHealth(time.monotonic)
    case = Case(snapshot, named, policy, today, caller, needs, health)
    with health.traffic.lock:
        share, over = trial(named, caller, health.traffic) if named.split else (None, ())
        found = known(terms, needs.options, share) if own is None else with_own(own, terms, needs.options)
        return _decided(case, found, share, over)


def shadow(snapshot: Snapshot, route: Route, share: Share, *, today: date, health: Health) -> Route:
    """How a copy of a call on ``route`` would be served by the endpoint of ``share`` alone: one request, house's key."""
    feature = replace(
        route.feature,
        attempts=1,
        max_attempts=1,
        max_cost_usd=None,
        split=(),
        shadow=(),
        limits=NO_LIMITS,
        on_invalid_output="raise",
        hedge=False,
    )
    caller = route.caller.without_keys().model_copy(update={"key_policy": "house_only"})
    needs = route.needs._replace(streams=False)
    terms = _terms(snapshot, feature, "house_only", today, needs)
    case = Case(snapshot, feature, "house_only", today, caller, needs, health)
    with health.traffic.lock:
        found = copied_to(share, terms, needs.options)
        return _decided(case, found)._replace(is_shadow=True, demo=False)


def _terms(snapshot: Snapshot, feature: Feature, policy: KeyPolicy, today: date, needs: Needs) -> Terms:
    abilities = needs.tools, needs.structured_output, needs.images, needs.remote_images
    return Terms(snapshot, feature, policy, today, *abilities)


def _decided(
    case: Case, found: Iterable[Known], share: Share | None = None, over: Sequence[Rejection] = ()
) -> Route:
    """Who of those that were ``found`` may serve this call now."""
    able: dict[Circuit, Candidate] = {}
    left_out: list[Rejection] = []
    for one, lasting in found:
        candidate, rejection = _judged(one, lasting, case)
        if rejection is not None:
            left_out.append(rejection)
        if rejection is None or rejection.rest is not None:
            # A chain may name an endpoint twice, and a user's key may be the house's; the first time counts.
            able.setdefault(candidate.circuit, candidate)
    best = _chosen_from(list(able.values()), case)
    candidates = _free_first(best, case) if left_out else best
    return Route(
        feature=case.feature,
        profile=case.snapshot.profile if case.policy == "house_only" else case.snapshot.byok_profile,
        policy=case.policy,
        candidates=tuple(candidates),
        skipped=_skipped(over, left_out, candidates) if over or left_out else (),
        demo=case.snapshot.demo_active and case.policy != "byok_only",
        table_hash=case.snapshot.hash,
        needs=case.needs,
        today=case.today,
        preferred=best[0] if best else None,
        caller=case.caller,
        share=share,
        hedge=_hedge(candidates, case) if case.feature.hedge and candidates else None,
    )


def _judged(
    candidate: Candidate, lasting: Rejection | None, case: Case
) -> tuple[Candidate, Rejection | None]:
    """``candidate`` with its rest, and with its key if that is the caller's; and why it is better not asked now."""
    rejection = lasting
    if candidate.owner == "user":
        candidate = with_users_key(candidate, case.caller, case.feature)
        rejection = rejected(candidate, case, KEY_RULES) or lasting
    rejection = rejection or rejected(candidate, case, CALL_RULES)
    if rejection is not None or (rest := availability(candidate, case.health, case.needs)) is None:
        return candidate, rejection
    candidate = replace(candidate, rest=rest)
    return candidate, resting(candidate, rest)


def _chosen_from(able: list[Candidate], case: Case) -> list[Candidate]:
    if len(able) <= 1:
        return able
    return ordered(able, selection_context(case.needs, case.caller, case.health.traffic))


def _free_first(best: list[Candidate], case: Case) -> list[Candidate]:
    """Those that do not rest; if all do, those that are worth a wait or a probe."""
    free = [one for one in best if one.rest is None]
    if len(free) == len(best):
        return best
    return _chosen_from(free, case) if free else _last_resort(best, case)


def _skipped(
    over: Iterable[Rejection], left_out: Iterable[Rejection], candidates: Iterable[Candidate]
) -> tuple[Rejection, ...]:
    """Each reason once, and nobody who is tried all the same."""
    tried = {(one.endpoint, one.account_name) for one in candidates}
    told: dict[tuple[object, ...], Rejection] = {}
    for one in (*over, *(one for one in left_out if (one.endpoint, one.account) not in tried)):
        told.setdefault((one.endpoint, one.account, one.code, one.reason), one)
    return tuple(told.values())


# Health ------------------------------------------------------------------------------------------------------------


def tokens_of(candidate: Candidate, needs: Needs) -> int:
    """What a request may use: the prompt, and the answer as far as its length is limited."""
    return needs.tokens + (candidate.options.max_output_tokens or 0)


def availability(candidate: Candidate, health: Health, needs: Needs, who: int = 0) -> Unavailable | None:
    """Why ``candidate`` is better not used now: it or its key rests, or one of our own limits is reached.

    Args:
        candidate: Which.
        health: What is known.
        needs: What the call needs.
        who: The call's number, if it stands in a line.
    """
    rest = health.availability(candidate.key_circuit, candidate.circuit)
    if rest is not None or not candidate.meters:
        return rest
    full = _full(candidate, health, needs, who)
    if full is None:
        return None
    category = Category.QUOTA if full.is_quota else Category.RATE_LIMIT
    return Unavailable(
        full.seconds,
        category,
        "limited",
        reason=f"no more than {full.what}",
        scope=full.scope,
        is_guess=full.is_guess,
    )


def _full(candidate: Candidate, health: Health, needs: Needs, who: int = 0) -> Exceeded | None:
    return health.traffic.rate_limiter.full(candidate.meters, tokens_of(candidate, needs), who)


def _last_resort(able: list[Candidate], case: Case) -> list[Candidate]:
    """All that could serve is resting: those whose breaker may be probed, then those that can be waited for."""
    worth = [one for one in able if one.rest is not None and is_within_reach(one.rest, case.feature)]
    return sorted(worth, key=lambda one: _earliest(one, case))


def _earliest(candidate: Candidate, case: Case) -> float:
    """In how many seconds ``candidate``, which rests, may be asked. A breaker may be probed as soon as there is room."""
    rest = candidate.rest
    if rest is not None and rest.kind in {"cooling", "limited"}:
        return rest.seconds
    full = _full(candidate, case.health, case.needs)
    return 0.0 if full is None else full.seconds


def is_within_reach(rest: Unavailable, feature: Feature) -> bool:
    """Whether a call of ``feature`` may wait for the end of ``rest``, or probe."""
    match rest.kind:
        case "limited":
            return rest.seconds <= feature.deadline
        case "cooling":
            wait_pays = POLICY[rest.category].again == "retry"
            return wait_pays and rest.seconds <= min(feature.wait, feature.deadline)
        case _:
            return True


# Hedging -----------------------------------------------------------------------------------------------------------


def _hedge(candidates: Sequence[Candidate], case: Case) -> Hedge:
    first, *others = candidates
    tail = case.health.traffic.tail_latency.of(case.feature.name, str(first.endpoint), timed(case.needs))
    never = unhedged(first, others, case.feature)
    return Hedge(tail.p95 if never is None else None, len(tail), never)


def unhedged(first: Candidate, others: Iterable[Candidate], feature: Feature) -> str | None:
    """Why no second request may go out beside the one to ``first``; None if it may."""
    if isinstance(first.select, Custom):
        return "a selector of the application chooses"
    if feature.max_attempts < LEAST_REQUESTS:
        return "a call may send one request only"
    if all(other.endpoint == first.endpoint for other in others):
        return "no second endpoint may serve"
    return None


def resting(candidate: Candidate, rest: Unavailable) -> Rejection:
    """``candidate`` as one that is not tried because it rests."""
    return Rejection(candidate, SkipCode(rest.kind), str(rest), rest)
