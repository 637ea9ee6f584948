"""Decides which endpoints may serve a call, in which order and with whose key, and why the others may not.

`explain` shows exactly what a call made at the same moment does, because both call `plan`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import UnknownEndpointError
from ..model_config import endpoint_of_user
from ..state.experiments import CONTROL
from ..state.health import Health, Unavailable
from .candidates import (
    callers_endpoint_candidate,
    candidates,
    candidates_named_by_call,
    with_user_key_fingerprint,
)
from .hedging import hedge_of
from .route import ABILITIES, Rejection, Route
from .rules import CALL_RULES, KEY_RULES, Case, Terms, rejected, unsupported
from .selection import ordered, selection_context
from .split import trial
from .waiting import last_resort, limited, unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date

    from ..caller import Caller, OwnEndpoint
    from ..model_config import Endpoint, Feature, Share, Snapshot
    from ..options import Options
    from ..state.health import Circuit
    from ..types import KeyPolicy
    from .candidates import Known
    from .route import Candidate, Needs

MOST_TERMS = 4096
"""The most entries of a table's cache of candidates, which is cleared when it is full."""


def plan(  # noqa: PLR0913 - all that the decision depends on
    snapshot: Snapshot,
    feature: str,
    caller: Caller,
    needs: Needs,
    *,
    today: date,
    health: Health | None = None,
    call_id: str = "",
) -> Route:
    """Decide how a call of ``feature`` by ``caller`` would be served.

    Args:
        snapshot: The table.
        feature: A feature of the table.
        caller: The caller.
        needs: The needs of the call.
        today: The day, for retirements of models and prices.
        health: The state of endpoints and limits; None to plan without any.
        call_id: The id of the call; empty if no call is made.

    Raises:
        UnknownFeatureError: The table has no such feature.
        UnknownEndpointError: The call names an endpoint that the table does not have. No other error is raised: a call
            that no endpoint may serve gives a route without candidates.
    """
    named = snapshot.features[feature]
    policy = _policy_for(caller, named)
    own = None if policy == "house_only" else caller.own_endpoint
    terms = Terms(snapshot, named, policy, today, *needs[:ABILITIES])
    if own is not None:  # trials, copies and hedges are between the table's endpoints
        named = replace(named, split=(), shadow=(), hedge=False)
    if health is None:
        health = Health(time.monotonic)
    case = Case(snapshot, named, policy, today, caller, needs, health, call_id)
    with health.traffic.lock:
        if own is not None:
            return route_of(case, _own_endpoint_first(own, terms, needs.options))
        if needs.endpoint is not None:
            return route_of(case._replace(feature=replace(named, split=())), _named_first(needs, terms))
        share, over = trial(named, caller, health.traffic) if named.split else (None, ())
        return route_of(case, _cached_candidates(terms, needs.options, share), share, over)


def preferred_endpoint(snapshot: Snapshot, feature: Feature, caller: Caller) -> Endpoint:
    """Find the endpoint that a call of ``feature`` by ``caller`` would use first, even if it cannot serve now."""
    policy, own = _policy_for(caller, feature), caller.own_endpoint
    if policy != "house_only" and own is not None:
        return endpoint_of_user(own.base_url, own.model, snapshot.private_networks)
    if policy != "byok_only" and snapshot.demo is not None and snapshot.demo_active:
        return snapshot.demo
    profile = snapshot.profile if policy == "house_only" else snapshot.byok_profile
    chain = snapshot.chains[profile].get(feature.name) or snapshot.groups[feature.name]
    return chain.tiers[0].endpoints[0]


def _policy_for(caller: Caller, feature: Feature) -> KeyPolicy:
    """Whose keys may pay: the house pays as a fallback only if the table allows it for ``feature``, too."""
    policy = caller.key_policy or caller.policy
    return "byok_only" if policy == "byok_then_house" and not feature.house_fallback else policy


def _cached_candidates(terms: Terms, options: Options, share: Share | None) -> Iterable[Known]:
    """All candidates in order of preference, cached with the table unless the call has options of its own."""
    if options.model_fields_set:
        return candidates(terms, options, share)
    kept, name = terms.snapshot.kept, (terms.feature.name, *terms[2:], share)
    found: Sequence[Known] | None = kept.get(name)
    if found is None:
        if len(kept) >= MOST_TERMS:
            kept.clear()
        found = kept[name] = tuple(candidates(terms, options, share))
    return found


def _named_first(needs: Needs, terms: Terms) -> Iterator[Known]:
    """The endpoint that the call names, followed by the feature's own, unless the call wants no fallbacks."""
    name, known = needs.endpoint or "", terms.snapshot.endpoints
    if name not in known:
        raise UnknownEndpointError(name, terms.feature.name, known)
    yield from candidates_named_by_call(known[name], terms, needs.options)
    if needs.fallbacks:
        yield from _cached_candidates(terms, needs.options, None)


def _own_endpoint_first(own: OwnEndpoint, terms: Terms, options: Options) -> Iterator[Known]:
    """The caller's own endpoint, never cached, followed by the house's candidates if the house may pay."""
    yield from callers_endpoint_candidate(own, terms, options)
    if terms.policy == "byok_then_house":
        yield from _cached_candidates(terms._replace(policy="house_only"), options, None)


def route_of(
    case: Case, found: Iterable[Known], share: Share | None = None, over: Sequence[Rejection] = ()
) -> Route:
    """Build the route of one call: the candidates that may serve it now, and the reasons against all others.

    Args:
        case: The inputs of the decision.
        found: The candidates in order of preference, each with the reason why no call may use it, if there is one.
        share: The endpoint on trial that is tried first, if any.
        over: Further rejections, to be shown among the skipped.
    """
    able: dict[Circuit, Candidate] = {}
    left_out: list[Rejection] = []
    for one, lasting in found:
        is_users = one.owner == "user"
        candidate = (
            with_user_key_fingerprint(one, case.caller, case.feature, case.snapshot.fingerprint_key)
            if is_users
            else one
        )
        keyless = rejected(candidate, case, KEY_RULES) if is_users else None
        rejection = keyless or lasting or rejected(candidate, case, CALL_RULES)
        why = availability(candidate, case.health, case.needs) if rejection is None else None
        if why is not None:
            candidate = replace(candidate, rest=why)
            rejection = unavailable(candidate, why)
        if rejection is not None:
            left_out.append(rejection)
        if rejection is None or why is not None:
            # A chain may name an endpoint twice, and a user's key may be the house's; the first time counts.
            able.setdefault(candidate.circuit, candidate)
    best = list(able.values())
    if case.health.traffic.unsupported.until:
        best = _without_unsupported(best, case, left_out)
    if len(best) > 1:
        best = _in_order(best, case)
    order = _available_first(best, case) if left_out else best
    snapshot, feature, policy = case.snapshot, case.feature, case.policy
    is_demo = snapshot.demo_active and policy != "byok_only"
    hedge = None
    if feature.hedge and order:
        hedge = hedge_of(order[0], order[1:], feature, case.needs, case.health.traffic)
    return Route(
        feature=feature,
        profile=snapshot.profile if policy == "house_only" else snapshot.byok_profile,
        policy=policy,
        candidates=tuple(order),
        resting=tuple(one for one in best if one not in order) if len(order) < len(best) else (),
        skipped=_skipped(over, left_out, order) if over or left_out else (),
        demo=is_demo,
        table_hash=snapshot.hash,
        needs=case.needs,
        today=case.today,
        preferred=best[0] if best and not is_demo else None,
        caller=case.caller,
        share=share,
        arm=_arm(share) if feature.split else None,
        hedge=hedge,
        call_id=case.call_id,
    )


def _arm(share: Share | None) -> str:
    return CONTROL if share is None else str(share.endpoint)


def _in_order(able: list[Candidate], case: Case) -> list[Candidate]:
    order = ordered(able, selection_context(case.needs, case.caller, case.health.traffic))
    return order if case.needs.fallbacks else [one for one in order if one.endpoint == order[0].endpoint]


def _without_unsupported(able: list[Candidate], case: Case, left_out: list[Rejection]) -> list[Candidate]:
    """Leave out endpoints that recently rejected a need of the call as unsupported, unless all did."""
    lacks = [(one, unsupported(one, case)) for one in able]
    fit = [one for one, lack in lacks if lack is None]
    if not fit:
        return able
    left_out += [lack for _, lack in lacks if lack is not None]
    return fit


def _available_first(best: list[Candidate], case: Case) -> list[Candidate]:
    """The available candidates; if there are none, those that are worth a wait or a probe."""
    free = [one for one in best if one.rest is None]
    if len(free) == len(best):
        return best
    return _in_order(free, case) if free else last_resort(best, case)


def _skipped(
    over: Iterable[Rejection], left_out: Iterable[Rejection], candidates: Iterable[Candidate]
) -> tuple[Rejection, ...]:
    """The rejections without duplicates, and without endpoints that are tried nevertheless."""
    tried = {(one.endpoint, one.account_name) for one in candidates}
    skipped: dict[tuple[object, ...], Rejection] = {}
    for one in (*over, *(one for one in left_out if (one.endpoint, one.account) not in tried)):
        skipped.setdefault((one.endpoint, one.account, one.code, one.reason), one)
    return tuple(skipped.values())


# Health ------------------------------------------------------------------------------------------------------------


def availability(candidate: Candidate, health: Health, needs: Needs, number: int = 0) -> Unavailable | None:
    """Why ``candidate`` is not available now: a cooldown, an open circuit, or a limit; None if it is available.

    Args:
        candidate: The candidate.
        health: The state of endpoints and limits.
        needs: The needs of the call.
        number: The call's number in the queue of a limit; 0 if it is in none.
    """
    why = health.availability(candidate.key_circuit, candidate.circuit)
    return why if why is not None or not candidate.meters else limited(candidate, health, needs, number)
