"""Decides which endpoints may serve a call, in which order and with whose key, and why the others may not.

`explain` shows exactly what a call made at the same moment does, because both call `plan_route`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import UnknownEndpointError
from ..model_config import make_own_endpoint
from ..state.experiments import CONTROL
from ..state.health import HealthTracker, UnavailableReason
from .candidates import (
    list_candidates,
    list_named_endpoint_candidates,
    list_own_endpoint_candidates,
    with_user_key_fingerprint,
)
from .hedging import compute_hedge_delay
from .route import ABILITIES, CandidateRejection, Route
from .rules import (
    CALL_RULES,
    KEY_RULES,
    CallRoutingInputs,
    SharedRoutingInputs,
    find_first_rejection,
    find_unmet_need_rejection,
)
from .selection import make_selection_context, order_candidates
from .split import find_trial_endpoint
from .waiting import find_exceeded_rate_limit, make_unavailable_rejection, select_last_resorts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date

    from ..caller import Caller, OwnEndpoint
    from ..model_config import Endpoint, Feature, TableSnapshot, TrafficShare
    from ..options import Options
    from ..state.health import Circuit
    from ..types import KeyPolicy
    from .candidates import CandidateVerdict
    from .route import Candidate, Needs

MOST_TERMS = 4096
"""The most entries of a table's cache of candidates, which is cleared when it is full."""


def plan_route(  # noqa: PLR0913 - all that the decision depends on
    snapshot: TableSnapshot,
    feature: str,
    caller: Caller,
    needs: Needs,
    *,
    today: date,
    health: HealthTracker | None = None,
    call_id: str = "",
) -> Route:
    """Decide how a call of ``feature`` by ``caller`` would be served. Nothing is sent.

    ``today`` decides on prices and retirements of models. Without ``health``, all endpoints are available.
    ``call_id`` is empty if no call is made.

    Raises:
        UnknownFeatureError: The table has no such feature.
        UnknownEndpointError: The call names an unknown endpoint. A call that no endpoint may serve raises no
            error: its route has no candidates.
    """
    named = snapshot.features[feature]
    policy = _policy_for(caller, named)
    own = None if policy == "house_only" else caller.own_endpoint
    terms = SharedRoutingInputs(snapshot, named, policy, today, *needs[:ABILITIES])
    if own is not None:  # trials, copies and hedges are between the table's endpoints
        named = replace(named, split=(), shadow=(), hedge=False)
    if health is None:
        health = HealthTracker(time.monotonic)
    case = CallRoutingInputs(snapshot, named, policy, today, caller, needs, health, call_id)
    with health.traffic.lock:
        if own is not None:
            return build_route(case, _own_endpoint_first(own, terms, needs.options))
        if needs.endpoint is not None:
            return build_route(case._replace(feature=replace(named, split=())), _named_first(needs, terms))
        share, over = find_trial_endpoint(named, caller, health.traffic) if named.split else (None, ())
        return build_route(case, _cached_candidates(terms, needs.options, share), share, over)


def preferred_endpoint(snapshot: TableSnapshot, feature: Feature, caller: Caller) -> Endpoint:
    """Find the endpoint that a call of ``feature`` by ``caller`` would use first, even if it cannot serve now."""
    policy, own = _policy_for(caller, feature), caller.own_endpoint
    if policy != "house_only" and own is not None:
        return make_own_endpoint(own.base_url, own.model, snapshot.private_networks)
    if policy != "byok_only" and snapshot.demo is not None and snapshot.demo_active:
        return snapshot.demo
    profile = snapshot.profile if policy == "house_only" else snapshot.byok_profile
    chain = snapshot.chains[profile].get(feature.name) or snapshot.groups[feature.name]
    return chain.tiers[0].endpoints[0]


def _policy_for(caller: Caller, feature: Feature) -> KeyPolicy:
    """Whose keys may pay: the house pays as a fallback only if the table allows it for ``feature``, too."""
    policy = caller.key_policy or caller.effective_key_policy
    return "byok_only" if policy == "byok_then_house" and not feature.house_fallback else policy


def _cached_candidates(
    terms: SharedRoutingInputs, options: Options, share: TrafficShare | None
) -> Iterable[CandidateVerdict]:
    """All candidates in order of preference, cached with the table unless the call has options of its own."""
    if options.model_fields_set:
        return list_candidates(terms, options, share)
    kept, name = terms.snapshot.kept, (terms.feature.name, *terms[2:], share)
    found: Sequence[CandidateVerdict] | None = kept.get(name)
    if found is None:
        if len(kept) >= MOST_TERMS:
            kept.clear()
        found = kept[name] = tuple(list_candidates(terms, options, share))
    return found


def _named_first(needs: Needs, terms: SharedRoutingInputs) -> Iterator[CandidateVerdict]:
    """The endpoint that the call names, followed by the feature's own, unless the call wants no fallbacks."""
    name, known = needs.endpoint or "", terms.snapshot.endpoints
    if name not in known:
        raise UnknownEndpointError(name, terms.feature.name, known)
    yield from list_named_endpoint_candidates(known[name], terms, needs.options)
    if needs.fallbacks:
        yield from _cached_candidates(terms, needs.options, None)


def _own_endpoint_first(
    own: OwnEndpoint, terms: SharedRoutingInputs, options: Options
) -> Iterator[CandidateVerdict]:
    """The caller's own endpoint, never cached, followed by the house's candidates if the house may pay."""
    yield from list_own_endpoint_candidates(own, terms, options)
    if terms.policy == "byok_then_house":
        yield from _cached_candidates(terms._replace(policy="house_only"), options, None)


def build_route(
    inputs: CallRoutingInputs,
    found: Iterable[CandidateVerdict],
    trial_share: TrafficShare | None = None,
    extra_rejections: Sequence[CandidateRejection] = (),
) -> Route:
    """Build the route of one call: the candidates that may serve it now, and the reasons against all others.

    Args:
        inputs: The inputs of the decision.
        found: The candidates in order of preference, each with the reason why it may serve no call, or None.
        trial_share: The endpoint on trial that is tried first, if any.
        extra_rejections: Further rejections to be listed in ``skipped``.
    """
    able: dict[Circuit, Candidate] = {}
    left_out: list[CandidateRejection] = []
    for base, lasting in found:
        is_users = base.owner == "user"
        candidate = (
            with_user_key_fingerprint(
                base, inputs.caller, inputs.feature, inputs.snapshot.fingerprint_hash_key
            )
            if is_users
            else base
        )
        keyless = find_first_rejection(candidate, inputs, KEY_RULES) if is_users else None
        rejection = keyless or lasting or find_first_rejection(candidate, inputs, CALL_RULES)
        why = find_unavailability(candidate, inputs.health, inputs.needs) if rejection is None else None
        if why is not None:
            candidate = replace(candidate, rest=why)
            rejection = make_unavailable_rejection(candidate, why)
        if rejection is not None:
            left_out.append(rejection)
        if rejection is None or why is not None:
            # A chain may name an endpoint twice, and a user's key may be the house's; the first time counts.
            able.setdefault(candidate.endpoint_circuit, candidate)
    best = list(able.values())
    if inputs.health.traffic.unsupported.until:
        best = _without_unsupported(best, inputs, left_out)
    if len(best) > 1:
        best = _in_order(best, inputs)
    order = _available_first(best, inputs) if left_out else best
    snapshot, feature, policy = inputs.snapshot, inputs.feature, inputs.policy
    is_demo = snapshot.demo_active and policy != "byok_only"
    hedge = None
    if feature.hedge and order:
        hedge = compute_hedge_delay(order[0], order[1:], feature, inputs.needs, inputs.health.traffic)
    return Route(
        feature=feature,
        profile=snapshot.profile if policy == "house_only" else snapshot.byok_profile,
        policy=policy,
        candidates=tuple(order),
        resting=tuple(candidate for candidate in best if candidate not in order)
        if len(order) < len(best)
        else (),
        skipped=_skipped(extra_rejections, left_out, order) if extra_rejections or left_out else (),
        demo=is_demo,
        table_hash=snapshot.hash,
        needs=inputs.needs,
        today=inputs.today,
        preferred=best[0] if best and not is_demo else None,
        caller=inputs.caller,
        share=trial_share,
        arm=_arm(trial_share) if feature.split else None,
        hedge=hedge,
        call_id=inputs.call_id,
    )


def _arm(share: TrafficShare | None) -> str:
    return CONTROL if share is None else str(share.endpoint)


def _in_order(able: list[Candidate], case: CallRoutingInputs) -> list[Candidate]:
    order = order_candidates(able, make_selection_context(case.needs, case.caller, case.health.traffic))
    return (
        order
        if case.needs.fallbacks
        else [candidate for candidate in order if candidate.endpoint == order[0].endpoint]
    )


def _without_unsupported(
    able: list[Candidate], case: CallRoutingInputs, left_out: list[CandidateRejection]
) -> list[Candidate]:
    """Leave out endpoints that recently rejected a need of the call as unsupported, unless all did."""
    lacks = [(candidate, find_unmet_need_rejection(candidate, case)) for candidate in able]
    fit = [candidate for candidate, lack in lacks if lack is None]
    if not fit:
        return able
    left_out += [lack for _, lack in lacks if lack is not None]
    return fit


def _available_first(best: list[Candidate], case: CallRoutingInputs) -> list[Candidate]:
    """The available candidates; if there are none, those that are worth a wait or a probe."""
    free = [candidate for candidate in best if candidate.rest is None]
    if len(free) == len(best):
        return best
    return _in_order(free, case) if free else select_last_resorts(best, case)


def _skipped(
    over: Iterable[CandidateRejection],
    left_out: Iterable[CandidateRejection],
    candidates: Iterable[Candidate],
) -> tuple[CandidateRejection, ...]:
    """The rejections without duplicates, and without endpoints that are tried nevertheless."""
    tried = {(candidate.endpoint, candidate.account_name) for candidate in candidates}
    skipped: dict[tuple[object, ...], CandidateRejection] = {}
    for rejection in (
        *over,
        *(rejection for rejection in left_out if (rejection.endpoint, rejection.account) not in tried),
    ):
        skipped.setdefault(
            (rejection.endpoint, rejection.account, rejection.code, rejection.reason), rejection
        )
    return tuple(skipped.values())


# Health ------------------------------------------------------------------------------------------------------------


def find_unavailability(
    candidate: Candidate, health: HealthTracker, needs: Needs, queue_number: int = 0
) -> UnavailableReason | None:
    """Find out why ``candidate`` is unavailable now: a cooldown, an open circuit or a limit; None if it is not.

    ``queue_number`` is the call's number in the queue of a limit; 0 if it is in none.
    """
    why = health.find_unavailable_reason(candidate.credential_circuit, candidate.endpoint_circuit)
    return (
        why
        if why is not None or not candidate.meters
        else find_exceeded_rate_limit(candidate, health, needs, queue_number)
    )
