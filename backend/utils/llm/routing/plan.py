"""Which endpoints may serve a call, in which order, with whose key; and why the others may not.

`plan` is pure and total. What `explain` shows is what a call made at that moment does, because both call `plan`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from ..caller import HOUSE
from ..failures import POLICY, Category
from ..model_config import NO_LIMITS, OWN, CostLadder, Custom, Ordered, brought
from ..secrets import fingerprint
from ..state.health import MemoryHealth, Unavailable, UnavailableKind
from ..state.rate_limiter import Meter
from .route import ON_TRIAL, Candidate, Hedge, Needs, Route, Skip, SkipCode, rest_reason
from .rules import KEY_RULES, LASTING_RULES, OWN_RULES, PASSING_RULES, Case, Rule, skip
from .selection import SelectionContext, ordered, timed
from .split import share_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date

    from ..caller import Caller
    from ..model_config import Account, Chain, Endpoint, Feature, Limits, Share, Snapshot, Tier
    from ..options import Options
    from ..state.health import Circuit, Health
    from ..state.rate_limiter import Exceeded
    from ..types import KeyOwner

MOST_KINDS = 4096
"""How many kinds of calls are kept for one table, before it is begun anew."""
LASTING_CODES = frozenset(SkipCode) - {
    SkipCode.WINDOW,
    SkipCode.TIER,
    SkipCode.PRICE,
    SkipCode.SPLIT_OVER,
    *(SkipCode(kind) for kind in get_args(UnavailableKind)),
}
"""Why an endpoint may never serve a call of a kind, on that day and with that table."""
LEAST_REQUESTS = 2
"""A call that may send fewer in all has none for a hedge."""

_Known = tuple[Candidate, Skip | None]
_Kind = tuple[Any, ...]


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
    if health is None:
        health = MemoryHealth(time.monotonic)
    with health.traffic.lock:
        case = Case(snapshot, _feature(snapshot, feature, caller), caller, needs, today, health)
        share, over = _trial(case)
        kind = _kind(case, share)
        name = None if kind is None else ("usual", kind, _bringing(case))
        return _as_usual(case, name) or _keep_if_usual(
            _decided(case, _known(case, share, kind), share, over), case, name
        )


def foremost(snapshot: Snapshot, feature: str, caller: Caller) -> Endpoint:
    """What stands first for a call of ``feature`` by ``caller``, whether it may serve now or not.

    Raises:
        UnknownFeatureError: If the table holds no such feature.
    """
    named = snapshot.feature(feature)
    name, policy = named.name, caller.policy_for(named)
    if (own := caller.served_by) is not None:
        return brought(own.base_url, own.model, snapshot.private_networks)
    if snapshot.demo_active and snapshot.demo is not None and policy != "byok_only":
        return snapshot.demo
    profile = snapshot.profile if policy == "house_only" else snapshot.byok_profile
    return next(iter(snapshot.chain(name, profile)))


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
    layer = f"{feature.layer}, features.{feature.name}.shadow"
    case = Case(snapshot, feature, caller, route.needs._replace(streams=False), today, health)
    with health.traffic.lock:
        found = _with_faults(_beside(share, "house", snapshot.profile, layer), case)
        return _decided(case, found, None)._replace(is_shadow=True, demo=False)


def _decided(case: Case, found: Iterable[_Known], share: Share | None, over: Iterable[Skip] = ()) -> Route:
    snapshot, named, policy = case.snapshot, case.feature, case.policy
    judged = [_judged(candidate, fault, case) for candidate, fault in found]
    able = _each_once(one for one in judged if isinstance(one, Candidate))
    best = _chosen_from(able, case)
    candidates = _free_first(best, case)
    left_out = [one for one in map(_left_out, judged) if one is not None]
    kept = {_place(one) for one in candidates} if left_out else set()
    skipped = [one for one in left_out if _place(one) not in kept]
    return Route(
        feature=named,
        profile=snapshot.profile if policy == "house_only" else snapshot.byok_profile,
        policy=policy,
        candidates=tuple(candidates),
        skipped=tuple(dict.fromkeys([*over, *skipped])),
        options=_laid(case.needs.options, named.options),
        deadline=named.deadline,
        demo=snapshot.demo_active and policy != "byok_only",
        table_hash=snapshot.hash,
        preferred=best[0] if best else None,
        needs=case.needs,
        today=case.today,
        caller=case.caller,
        share=share,
        hedge=_hedge(candidates, case) if named.hedge and candidates else None,
    )


def _judged(candidate: Candidate, fault: Skip | None, case: Case) -> Candidate | Skip:
    """``candidate`` with its rest, or why it may not serve."""
    if candidate.owner == "user":
        candidate = _with_users_key(candidate, case)
        fault = skip(candidate, case, KEY_RULES) or fault
    skipped = fault or skip(candidate, case, PASSING_RULES)
    if skipped is not None:
        return skipped
    rest = rest_of(candidate, case.health, case.needs)
    return candidate if rest is None else replace(candidate, rest=rest)


def _free_first(best: list[Candidate], case: Case) -> list[Candidate]:
    """Those that do not rest; if all do, those that are worth a wait or a probe."""
    free = [one for one in best if one.rest is None]
    if not free:
        return _last_resort(best, case)
    return best if len(free) == len(best) else _chosen_from(free, case)


def _chosen_from(able: list[Candidate], case: Case) -> list[Candidate]:
    return ordered(able, SelectionContext(case.needs, case.caller, case.health.traffic))


# What is kept with the table ---------------------------------------------------------------------------------------


class _Usual(NamedTuple):
    """The decision for a kind of call for which only health and the length of the prompt matter.

    Attributes:
        room: The longest prompt that every endpoint takes.
    """

    route: Route
    room: int


def _as_usual(case: Case, name: _Kind | None) -> Route | None:
    """The decision, if it is the same as ever: nobody rests, and the prompt is not too long for anybody."""
    usual = case.snapshot.kept.get(name)
    if usual is None or case.needs.tokens > usual.room:
        return None
    route: Route = usual.route
    if route.policy == "byok_only":
        candidates = tuple(replace(one, key=_users_key(one, case)) for one in route.candidates)
        route = route._replace(candidates=candidates, preferred=candidates[0])
    if any(rest_of(one, case.health, case.needs) is not None for one in route.candidates):
        return None
    return route._replace(needs=case.needs, caller=case.caller)


def _keep_if_usual(route: Route, case: Case, name: _Kind | None) -> Route:
    if name is not None and _is_usual(route):
        room = min(one.room for one in route.candidates)
        _keep(name, _Usual(route._replace(needs=Needs(), caller=HOUSE), room), case)
    return route


def _is_usual(route: Route) -> bool:
    """Whether all that decided lasts, but for health and the length of the prompt, which have left nobody out."""
    feature = route.feature
    if not route.candidates or route.policy == "byok_then_house":
        return False
    if feature.split or feature.hedge or feature.max_cost_usd is not None:
        return False
    is_plain = all(
        one.rest is None and not one.meters and isinstance(one.select, Ordered) for one in route.candidates
    )
    return is_plain and all(skip.code in LASTING_CODES for skip in route.skipped)


def _kind(case: Case, share: Share | None) -> _Kind | None:
    """What the call is like, as far as it matters to what is kept; None if nothing is."""
    needs = case.needs
    if needs.options.model_fields_set or case.caller.served_by is not None:
        return None
    abilities = (needs.tools, needs.structured_output, needs.images, needs.remote_images)
    return case.feature.name, case.policy, share, abilities, case.today


def _bringing(case: Case) -> frozenset[str]:
    """The providers that the caller brought keys for, if those serve: which keys they are is nothing to the decision."""
    if case.policy == "house_only":
        return frozenset()
    return frozenset(case.caller.keys.keys() & case.snapshot.providers.keys())


def _keep(key: tuple[Any, ...], value: Any, case: Case) -> None:
    if len(case.snapshot.kept) >= MOST_KINDS:
        case.snapshot.kept.clear()
    case.snapshot.kept[key] = value


# Who there is ------------------------------------------------------------------------------------------------------


def _feature(snapshot: Snapshot, name: str, caller: Caller) -> Feature:
    """What is called. Trials, copies and hedges are between the table's endpoints."""
    feature = snapshot.feature(name)
    return feature if caller.served_by is None else replace(feature, split=(), shadow=(), hedge=False)


def _trial(case: Case) -> tuple[Share | None, list[Skip]]:
    """The endpoint on trial that comes first for this caller, and the trials that are over."""
    traffic, feature = case.health.traffic, case.feature
    if not feature.split:
        return None, []
    ended = {share: traffic.experiments.why_over(feature.name, str(share)) for share in feature.split}
    over = [
        Skip(share.endpoint, SkipCode.SPLIT_OVER, f"its trial was stopped: {reason}")
        for share, reason in ended.items()
        if reason is not None
    ]
    share = share_of(feature, case.caller, traffic.round_robin.variant_draw)
    return (None if share is None or ended[share] is not None else share), over


def _known(case: Case, share: Share | None, kind: _Kind | None) -> Sequence[_Known]:
    """Everybody in order of preference, each with the fault that it has for all calls like this one.

    Worked out once for each kind of call.
    """
    found: Sequence[_Known] | None = case.snapshot.kept.get(("known", kind))
    if found is None:
        found = _with_faults(_in_order(case, share), case)
        if kind is not None:
            _keep(("known", kind), found, case)
    return found


def _with_faults(candidates: Iterable[Candidate], case: Case) -> tuple[_Known, ...]:
    above = _laid(case.needs.options, case.feature.options)
    settled = (_settled(one, case, above) for one in candidates)
    return tuple((one, skip(one, case, _lasting_rules(one))) for one in settled)


def _lasting_rules(candidate: Candidate) -> tuple[Rule, ...]:
    """Which keys the house has is the same for all calls; which ones a user brought is not."""
    if candidate.endpoint.provider.access == OWN:
        return OWN_RULES
    return LASTING_RULES if candidate.owner == "user" else (*KEY_RULES, *LASTING_RULES)


def _in_order(case: Case, share: Share | None) -> Iterator[Candidate]:
    """Every endpoint of the feature in order of preference, the caller's own keys before the house's."""
    snapshot, feature, policy = case.snapshot, case.feature, case.policy
    if (own := case.caller.served_by) is not None:
        endpoint = brought(own.base_url, own.model, snapshot.private_networks)
        layer = f"the caller's own endpoint at {endpoint.provider.host}"
        yield Candidate(endpoint, "user", snapshot.byok_profile, layer)
    elif policy != "house_only":
        chain = snapshot.chain(feature.name, snapshot.byok_profile)
        yield from _candidates(feature, chain, "user", snapshot.byok_profile, share)
    if policy == "byok_only":
        return
    if snapshot.demo_active and snapshot.demo is not None:
        yield Candidate(snapshot.demo, "house", snapshot.profile, "demo: the house has no key configured")
    else:
        chain = snapshot.chain(feature.name, snapshot.profile)
        yield from _candidates(feature, chain, "house", snapshot.profile, share)


def _candidates(
    feature: Feature, chain: Chain, owner: KeyOwner, profile: str, share: Share | None
) -> Iterator[Candidate]:
    if share is not None:
        yield from _beside(share, owner, profile, f"{feature.layer}, features.{feature.name}.split")
    for number, tier in enumerate(chain.tiers):
        scope = _scope(feature, tier, number, owner)
        members = (
            (endpoint, account) for endpoint in tier.endpoints for account in _accounts(endpoint, owner)
        )
        for place, (endpoint, account) in enumerate(members):
            yield Candidate(
                endpoint,
                owner,
                profile,
                chain.layer,
                tier.group,
                account,
                tier=number,
                place=place,
                select=tier.select,
                scope=scope,
            )


def _beside(share: Share, owner: KeyOwner, profile: str, layer: str) -> Iterator[Candidate]:
    """An endpoint that stands in no chain, with each of its accounts."""
    for account in _accounts(share.endpoint, owner):
        yield Candidate(share.endpoint, owner, profile, layer, account=account, tier=ON_TRIAL)


def _scope(feature: Feature, tier: Tier, number: int, owner: KeyOwner) -> str:
    """What a choice is called: a group's is the same for all features that use it."""
    named = f"group {tier.group}" if tier.group else f"feature {feature.name}"
    return (
        f"{named}{f' {number}' if number and not tier.group else ''}{' for users' if owner == 'user' else ''}"
    )


def ladders(snapshot: Snapshot, feature: str, profile: str, endpoint: str, owner: KeyOwner) -> list[str]:
    """The choices among cost ladders that ``endpoint`` stands on, for ``feature`` in ``profile``.

    Raises:
        UnknownFeatureError: If the table holds no such feature.
    """
    named = snapshot.feature(feature)
    chain = snapshot.chains.get(profile, {}).get(feature)
    return [
        _scope(named, tier, number, owner)
        for number, tier in enumerate(chain.tiers if chain else ())
        if isinstance(tier.select, CostLadder) and endpoint in map(str, tier.endpoints)
    ]


def _accounts(endpoint: Endpoint, owner: KeyOwner) -> tuple[Account | None, ...]:
    return endpoint.provider.accounts or (None,) if owner == "house" else (None,)


def _settled(candidate: Candidate, case: Case, above: Options) -> Candidate:
    """With its options; and with its key, if that is the house's."""
    account = candidate.account
    key = fingerprint(case.snapshot.house_keys.get(account.slot)) if account else "open"
    options, meters = _laid(above, candidate.endpoint.options), _meters(candidate, case.feature, key)
    return replace(candidate, key=key, options=options, meters=meters)


def _with_users_key(candidate: Candidate, case: Case) -> Candidate:
    key = _users_key(candidate, case)
    return replace(candidate, key=key, meters=_meters(candidate, case.feature, key))


def _users_key(candidate: Candidate, case: Case) -> str:
    provider = candidate.endpoint.provider
    place = provider.base_url if provider.access == OWN else ""
    return fingerprint(case.caller.key_for(provider), place)


def _laid(above: Options, below: Options) -> Options:
    if not above.model_fields_set:
        return below
    return above.over(below) if below.model_fields_set else above


def _each_once(candidates: Iterable[Candidate]) -> list[Candidate]:
    """A chain may name an endpoint twice, and a user's key may be the house's; the first time counts."""
    first: dict[Circuit, Candidate] = {}
    for candidate in candidates:
        first.setdefault(candidate.circuit, candidate)
    return list(first.values())


# Limits --------------------------------------------------------------------------------------------------------------


def _meters(candidate: Candidate, feature: Feature, key: str) -> tuple[Meter, ...]:
    """Everything that a request to ``candidate`` counts for."""
    endpoint, provider = candidate.endpoint, candidate.endpoint.provider
    all_of_them = (
        Meter(f"feature {feature.name}", f"for {feature.name}", feature.limits),
        Meter(f"key {provider.name} {key}", f"with {_whose(candidate)}", _key_limits(candidate)),
        Meter(f"endpoint {endpoint} {key}", f"to {endpoint}", endpoint.limits),
    )
    return tuple(meter for meter in all_of_them if not meter.limits.is_none)


def _key_limits(candidate: Candidate) -> Limits:
    provider = candidate.endpoint.provider
    if candidate.owner == "user":
        return provider.user_limits
    return candidate.account.limits if candidate.account else provider.limits


def _whose(candidate: Candidate) -> str:
    name, account = candidate.endpoint.provider.name, candidate.account
    if candidate.owner == "user":
        return f"the caller's key for {name}"
    return (
        f"the account {account.name} of {name}" if account and account.name else f"the house's key for {name}"
    )


def tokens_of(candidate: Candidate, needs: Needs) -> int:
    """What a request may use: the prompt, and the answer as far as its length is limited."""
    return needs.tokens + (candidate.options.max_output_tokens or 0)


# Health ------------------------------------------------------------------------------------------------------------


def rest_of(candidate: Candidate, health: Health, needs: Needs, who: int = 0) -> Unavailable | None:
    """Why ``candidate`` is better not used now: it or its key rests, or one of our own limits is reached.

    Args:
        candidate: Which.
        health: What is known.
        needs: What the call needs.
        who: The call's number, if it stands in a line.
    """
    rest = health.availability(candidate.key_circuit) or health.availability(candidate.circuit)
    full = _full(candidate, health, needs, who) if rest is None else None
    if full is None:
        return rest
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
    if not candidate.meters:
        return None
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


def _place(one: Candidate | Skip) -> tuple[Endpoint, str | None]:
    if isinstance(one, Skip):
        return one.endpoint, one.account
    return one.endpoint, one.account_name


def _left_out(judged: Candidate | Skip) -> Skip | None:
    if isinstance(judged, Skip):
        return judged
    return None if judged.rest is None else resting(judged, judged.rest)


def resting(candidate: Candidate, rest: Unavailable) -> Skip:
    """``candidate`` as one that is not tried because it rests."""
    return Skip(candidate.endpoint, SkipCode(rest.kind), rest_reason(rest), rest, candidate.account_name)
