"""The candidates of a feature: every endpoint in order of preference, with its options, limits and key.

Results that are the same for all calls with equal `SharedRoutingInputs` are computed once and cached
with the table.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..model_config import OWN, make_own_endpoint
from ..secrets import compute_fingerprint
from ..state.rate_limiter import MeteredScope
from ..strategies import ORDERED, TierStrategy
from .route import ON_TRIAL, Candidate
from .rules import LASTING_RULES, OWN_RULES, find_first_rejection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..caller import Caller, OwnEndpoint
    from ..model_config import ChainTier, Endpoint, Feature, HouseAccount, Limits, TableSnapshot, TrafficShare
    from ..options import Options
    from ..types import KeyOwner, KeyPolicy
    from .route import CandidateRejection
    from .rules import LastingRule, SharedRoutingInputs

CandidateVerdict = tuple[Candidate, "CandidateRejection | None"]
"""A candidate, and why it may serve no call on these `SharedRoutingInputs`; None if it may."""


def list_candidates(
    inputs: SharedRoutingInputs, options: Options, trial_share: TrafficShare | None
) -> Iterable[CandidateVerdict]:
    """Yield a candidate for every endpoint of the feature and every key that may pay, in order of preference.

    The caller's own keys come first, and for each owner the endpoint on trial (``trial_share``). Each
    candidate is paired with the reason why it may serve no call with these ``inputs``; None if it may.
    """
    return _fitted(_in_order(inputs, trial_share), inputs, options, LASTING_RULES)


def list_own_endpoint_candidates(
    own_endpoint: OwnEndpoint, inputs: SharedRoutingInputs, options: Options
) -> Iterable[CandidateVerdict]:
    """Yield the candidate for a caller's own endpoint, paired with a reason or None as in `list_candidates`."""
    endpoint = make_own_endpoint(own_endpoint.base_url, own_endpoint.model, inputs.snapshot.private_networks)
    layer = f"the caller's own endpoint at {endpoint.provider.host}"
    theirs = Candidate(endpoint, "user", inputs.snapshot.byok_profile, layer)
    return _fitted([theirs], inputs, options, OWN_RULES)


def list_shadow_candidates(
    share: TrafficShare, inputs: SharedRoutingInputs, options: Options
) -> Iterable[CandidateVerdict]:
    """Yield the candidates for a copy of a call: ``share``'s endpoint with the operator's keys, never a user's."""
    layer = f"{inputs.feature.layer}, features.{inputs.feature.name}.shadow"
    return _fitted(_beside(share, "house", inputs.snapshot.profile, layer), inputs, options, LASTING_RULES)


def with_user_key_fingerprint(
    candidate: Candidate, caller: Caller, feature: Feature, hash_key: bytes
) -> Candidate:
    """Return ``candidate`` with the limits and the fingerprint (by ``hash_key``) of the key of ``caller``."""
    provider = candidate.endpoint.provider
    place = provider.base_url if provider.access == OWN else ""
    key = compute_fingerprint(caller.key_for(provider), place, hash_key)
    return replace(candidate, key=key, meters=tuple(_meters(candidate, feature, key)))


def list_named_endpoint_candidates(
    endpoint: Endpoint, inputs: SharedRoutingInputs, options: Options
) -> Iterable[CandidateVerdict]:
    """Yield the candidates for ``endpoint``, which the call itself names: one for each key that may pay."""
    return _fitted(_named(endpoint, inputs), inputs, options, LASTING_RULES)


def _named(endpoint: Endpoint, terms: SharedRoutingInputs) -> Iterator[Candidate]:
    """The candidates for the endpoint that the call names. If a tier restricts the caller, the restriction holds."""
    snapshot, name = terms.snapshot, terms.feature.name
    owners: dict[KeyPolicy, tuple[KeyOwner, ...]] = {"house_only": ("house",), "byok_only": ("user",)}
    for owner in owners.get(terms.policy, ("user", "house")):
        profile = snapshot.byok_profile if owner == "user" else snapshot.profile
        select = next(
            (
                tier.select
                for tier in snapshot.chain(name, profile).tiers
                if isinstance(tier.select, TierStrategy)
            ),
            ORDERED,
        )
        for account in _accounts(endpoint, owner):
            yield Candidate(
                endpoint, owner, profile, "the call", account=account, tier=ON_TRIAL, select=select
            )


def _in_order(terms: SharedRoutingInputs, share: TrafficShare | None) -> Iterator[Candidate]:
    snapshot = terms.snapshot
    if terms.policy != "house_only":
        yield from _of_the_chain(terms, "user", snapshot.byok_profile, share)
    if terms.policy == "byok_only":
        return
    if snapshot.demo_active and snapshot.demo is not None and terms.feature.embedding is None:
        yield Candidate(snapshot.demo, "house", snapshot.profile, "demo: the house has no key configured")
    else:
        yield from _of_the_chain(terms, "house", snapshot.profile, share)


def _of_the_chain(
    terms: SharedRoutingInputs, owner: KeyOwner, profile: str, share: TrafficShare | None
) -> Iterator[Candidate]:
    feature = terms.feature
    chain = terms.snapshot.chain(feature.name, profile)
    if share is not None:
        yield from _beside(share, owner, profile, f"{feature.layer}, features.{feature.name}.split")
    for number, tier in enumerate(chain.tiers):
        scope = choice_scope_name(feature, tier, number, owner)
        choices = (
            (endpoint, account) for endpoint in tier.endpoints for account in _accounts(endpoint, owner)
        )
        for place, (endpoint, account) in enumerate(choices):
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


def _beside(share: TrafficShare, owner: KeyOwner, profile: str, layer: str) -> Iterator[Candidate]:
    """An endpoint outside the chain, with each of its accounts."""
    for account in _accounts(share.endpoint, owner):
        yield Candidate(share.endpoint, owner, profile, layer, account=account, tier=ON_TRIAL)


def choice_scope_name(feature: Feature, tier: ChainTier, tier_number: int, owner: KeyOwner) -> str:
    """Name the scope in which a strategy counts its choices among the endpoints of ``tier``.

    All features that use the same group share one scope. Users' keys have a separate scope.
    """
    named = f"group {tier.group}" if tier.group else f"feature {feature.name}"
    return f"{named}{f' {tier_number}' if tier_number and not tier.group else ''}{' for users' if owner == 'user' else ''}"


def _accounts(endpoint: Endpoint, owner: KeyOwner) -> tuple[HouseAccount | None, ...]:
    return endpoint.provider.accounts or (None,) if owner == "house" else (None,)


def _fitted(
    candidates: Iterable[Candidate],
    terms: SharedRoutingInputs,
    options: Options,
    rules: Iterable[LastingRule],
) -> Iterator[CandidateVerdict]:
    """The candidates with their options and limits, and with their key if it is the house's."""
    above = options.with_defaults(terms.feature.options)
    for base in candidates:
        key = _of_house(base.account, terms.snapshot) if base.account else "open"
        meters = tuple(_meters(base, terms.feature, key))
        candidate = replace(
            base,
            key=key,
            options=above.with_defaults(base.endpoint.options),
            extra_body=terms.feature.extra_body_for(base.endpoint) or None,
            meters=meters,
        )
        yield candidate, find_first_rejection(candidate, terms, rules)


def _of_house(account: HouseAccount, snapshot: TableSnapshot) -> str:
    return compute_fingerprint(snapshot.house_keys.get(account.slot), hash_key=snapshot.fingerprint_hash_key)


def _meters(candidate: Candidate, feature: Feature, key: str) -> Iterator[MeteredScope]:
    """All limits that a request to ``candidate`` counts for."""
    endpoint, provider = candidate.endpoint, candidate.endpoint.provider
    if not feature.limits.is_unlimited:
        yield MeteredScope(f"feature {feature.name}", f"for {feature.name}", feature.limits)
    if not (limits := _key_limits(candidate)).is_unlimited:
        yield MeteredScope(f"key {provider.name} {key}", f"with {_whose(candidate)}", limits)
    if not endpoint.limits.is_unlimited:
        yield MeteredScope(f"endpoint {endpoint} {key}", f"to {endpoint}", endpoint.limits)


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
