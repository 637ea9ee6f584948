"""The rules that an endpoint must satisfy to serve a call at all, each with its code and its sentence.

There are two kinds, by their argument: `SharedRoutingInputs` hold nothing of the caller, so that
verdicts on them can be cached for other callers; `CallRoutingInputs` have the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ..models import LACKS
from ..packages import find_missing_api_packages, install_advice
from ..pricing import max_request_cost
from ..strategies import TierStrategy
from .charges import find_unenforceable_budget
from .route import CandidateRejection, RejectionCode

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from ..caller import Caller
    from ..model_config import Feature, TableSnapshot
    from ..state.health import HealthTracker
    from ..types import KeyPolicy
    from .charges import CallCostInputs
    from .route import Candidate, Needs


class SharedRoutingInputs(NamedTuple):
    """The inputs of rules whose verdicts are cached for all callers: no field may depend on a caller."""

    snapshot: TableSnapshot
    feature: Feature
    policy: KeyPolicy
    today: date
    tools: bool
    structured_output: bool
    images: bool
    remote_images: bool
    audio: bool
    video: bool
    pdf: bool


class CallRoutingInputs(NamedTuple):
    """The inputs of rules for one call, including its caller; verdicts on them are never cached."""

    snapshot: TableSnapshot
    feature: Feature
    policy: KeyPolicy
    today: date
    caller: Caller
    needs: Needs
    health: HealthTracker
    call_id: str = ""


LastingRule = Callable[["Candidate", SharedRoutingInputs], "CandidateRejection | None"]
"""A rule whose verdict is cached with the table, for every call with equal `SharedRoutingInputs`."""
CallRule = Callable[["Candidate", CallRoutingInputs], "CandidateRejection | None"]
"""A rule whose verdict holds for one call."""
T = TypeVar("T")


def find_first_rejection(
    candidate: Candidate, inputs: T, rules: Iterable[Callable[[Candidate, T], CandidateRejection | None]]
) -> CandidateRejection | None:
    """Return the rejection of ``candidate`` by the first of ``rules`` that it breaks; None if it breaks none."""
    for rule in rules:
        if (rejection := rule(candidate, inputs)) is not None:
            return rejection
    return None


def _no_house_key(candidate: Candidate, terms: SharedRoutingInputs) -> CandidateRejection | None:
    account = candidate.account
    if account is None or account.slot in terms.snapshot.house_keys:
        return None
    return CandidateRejection(candidate, RejectionCode.NO_KEY, f"{account.api_key_env} is not set")


def _disabled(candidate: Candidate, terms: SharedRoutingInputs) -> CandidateRejection | None:
    """Rejects an endpoint that a person disabled, with every key."""
    why = terms.snapshot.disabled.get(str(candidate.endpoint))
    return (
        None
        if why is None
        else CandidateRejection(candidate, RejectionCode.DISABLED, why.public_summary, disabled=why)
    )


def _no_package(candidate: Candidate, _: object) -> CandidateRejection | None:
    if not (packages := find_missing_api_packages(candidate.endpoint.provider.api)):
        return None
    are = "is" if len(packages) == 1 else "are"
    why = f"{' and '.join(packages)} {are} not installed ({install_advice(packages)})"
    return CandidateRejection(candidate, RejectionCode.NO_PACKAGE, why)


def _not_your_key(candidate: Candidate, case: CallRoutingInputs) -> CandidateRejection | None:
    provider = candidate.endpoint.provider
    if candidate.owner == "house" or case.caller.key_for(provider) is not None:
        return None
    return CandidateRejection(
        candidate, RejectionCode.NOT_YOUR_KEY, f"the caller brought no key for {provider.name}"
    )


def _not_of_the_tier(candidate: Candidate, case: CallRoutingInputs) -> CandidateRejection | None:
    select = candidate.select
    if not isinstance(select, TierStrategy):
        return None
    tier = select.effective_tier(case.caller.tier)
    allowed, name = select.tiers[tier], str(candidate.endpoint)
    if name not in allowed.endpoints:
        return CandidateRejection(candidate, RejectionCode.TIER, f"it is not for the tier {tier!r}")
    rate = allowed.tokens
    if rate is None or name != allowed.endpoints[0] or len(allowed.endpoints) == 1:
        return None
    used = case.health.traffic.rate_limiter.count_used_tokens(
        caller_tier_token_scope(candidate, case.caller), rate
    )
    if used < allowed.until * rate.amount:
        return None
    spent = f"{used:.0f} of the {rate.amount} tokens per {rate.per} of the tier {tier!r} are used"
    return CandidateRejection(candidate, RejectionCode.TIER, spent)


def caller_tier_token_scope(candidate: Candidate, caller: Caller) -> str:
    """Name the scope in which tokens are counted for a limit of a caller's tier: the user, or else the tenant."""
    who = f"user {caller.user}" if caller.user else f"tenant {caller.tenant_id or ''}"
    return f"{candidate.scope} {who}"


def _retired(candidate: Candidate, terms: SharedRoutingInputs) -> CandidateRejection | None:
    gone = candidate.endpoint.retirement
    if gone is None or gone.day > terms.today:
        return None
    heir = f"; its vendor names {gone.replacement} instead" if gone.replacement else ""
    why = f"{candidate.endpoint.model} was retired on {gone.day}{heir}"
    return CandidateRejection(candidate, RejectionCode.RETIRED, why)


def _ability_missing(candidate: Candidate, terms: SharedRoutingInputs) -> CandidateRejection | None:
    endpoint = candidate.endpoint
    for ability, lack in LACKS.items():
        if getattr(terms, ability) and not getattr(endpoint.can, ability):
            return CandidateRejection(candidate, RejectionCode(f"no_{ability}"), f"{endpoint.model} {lack}")
    api = endpoint.provider.api
    for ability, lack in _BEYOND_THE_WORDS.get(endpoint.api_mode if api == "openai" else api, {}).items():
        if getattr(terms, ability):
            return CandidateRejection(candidate, RejectionCode(f"no_{ability}"), lack)
    return None


_BEYOND_THE_WORDS = {
    "chat": {"video": "Chat Completions takes no videos"},
    "responses": {"audio": "the Responses API takes no sounds", "video": "the Responses API takes no videos"},
    "anthropic": {
        "audio": "the Messages API takes no sounds",
        "video": "the Messages API takes no videos",
    },
    "gemini": {"remote_images": "the gemini API takes pictures only as data, not by their address"},
}
"""What an API has no words for whatever its models can do. All that is not known before is found when a request is worded."""


def _chat_tools_missing(candidate: Candidate, terms: SharedRoutingInputs) -> CandidateRejection | None:
    """Rejects a model that calls tools, but not in Chat Completions with this effort. `_ability_missing` rejects models without tools."""
    endpoint = candidate.endpoint
    if not terms.tools or endpoint.supports_tools(candidate.options.effort):
        return None
    why = f'{endpoint.model} takes tools like this only with api_mode = "responses"'
    return CandidateRejection(candidate, RejectionCode.NO_TOOLS, why)


def _no_vectors(candidate: Candidate, terms: SharedRoutingInputs) -> CandidateRejection | None:
    """Rejects a caller's own endpoint for embeddings, because its vectors cannot be compared with stored ones."""
    if terms.feature.embedding is None:
        return None
    why = f"{terms.feature.name} keeps vectors of {terms.feature.embedding.model} only"
    return CandidateRejection(candidate, RejectionCode.EMBEDDING, why)


def _out_of_reach(candidate: Candidate, _: object) -> CandidateRejection | None:
    """Rejects a caller's own endpoint with a forbidden address, as far as the URL shows; DNS is checked when the name is resolved."""
    provider = candidate.endpoint.provider
    fault = (
        provider.network_policy.find_url_problem(provider.base_url)
        if provider.network_policy is not None
        else None
    )
    return None if fault is None else CandidateRejection(candidate, RejectionCode.ADDRESS, fault)


def _option_refused(candidate: Candidate, terms: SharedRoutingInputs) -> CandidateRejection | None:
    """Rejects an endpoint that refuses an option. The demo endpoint stands in for all others, so there the option is left out."""
    return None if candidate.endpoint == terms.snapshot.demo else _beyond_the_api(candidate, terms)


def _beyond_the_api(candidate: Candidate, _: object) -> CandidateRejection | None:
    endpoint = candidate.endpoint
    refused = candidate.options.list_unsupported_options(
        endpoint.provider.api, endpoint.model, endpoint.can, endpoint.api_mode
    )
    why = "; ".join(f"{option}: {reason}" for option, reason in refused)
    return CandidateRejection(candidate, RejectionCode.OPTION, why) if refused else None


def find_unmet_need_rejection(candidate: Candidate, inputs: CallRoutingInputs) -> CandidateRejection | None:
    """Make the rejection of ``candidate`` if it recently refused something that the call needs; else None."""
    known = inputs.health.traffic.unsupported.list_unsupported(
        (inputs.snapshot.hash, candidate.endpoint_circuit)
    )
    for feature, seconds in known.items():
        if getattr(inputs.needs, feature, False) or getattr(candidate.options, feature, None) is not None:
            why = f"it said that it does not take {feature}; it is asked again in {seconds / 60:.0f} min"
            return CandidateRejection(candidate, RejectionCode.UNSUPPORTED, why)
    return None


def _window_too_small(candidate: Candidate, call: CallCostInputs) -> CandidateRejection | None:
    tokens, room = call.needs.tokens, candidate.max_prompt_tokens
    if tokens <= room:
        return None
    window = candidate.endpoint.can.context_window
    why = f"about {tokens} tokens exceed the {room} that its window of {window} leaves"
    return CandidateRejection(candidate, RejectionCode.WINDOW, why)


def _too_dear(candidate: Candidate, call: CallCostInputs) -> CandidateRejection | None:
    """Rejects an endpoint that could cost more than the limit, or has no known price, unless nobody bills it."""
    most, endpoint = call.feature.max_cost_usd, candidate.endpoint
    is_counted = call.feature.budgets or call.caller.budgets
    if is_counted and (budget := find_unenforceable_budget(candidate, call)) is not None:
        why = f"nobody knows what it costs, and the budget {budget.name} counts dollars"
        return CandidateRejection(candidate, RejectionCode.PRICE, why)
    if most is None or endpoint.provider.access != "key":
        return None
    could_cost = max_request_cost(
        endpoint, call.needs.tokens, candidate.options.max_output_tokens, call.today
    )
    if could_cost is not None and could_cost <= most:
        return None
    why = "nobody knows what it costs" if could_cost is None else f"it could cost ${could_cost}"
    return CandidateRejection(candidate, RejectionCode.PRICE, f"{why}, and a call may cost ${most}")


LASTING_RULES: tuple[LastingRule, ...] = (
    _disabled,
    _no_house_key,
    _no_package,
    _retired,
    _ability_missing,
    _chat_tools_missing,
    _option_refused,
)
"""The rules for the table's endpoints, in order: an endpoint without a key is not checked further."""
OWN_RULES: tuple[LastingRule, ...] = (_no_vectors, _no_package, _out_of_reach, _ability_missing)
"""The rules for a caller's own endpoint. Like the demo endpoint it serves every feature, so that options it has no
parameter for are left out; and the retirement of its model by the vendor does not matter."""
KEY_RULES: tuple[CallRule, ...] = (_not_your_key,)
"""The rules for a caller's key, which come before all others."""
CALL_RULES: tuple[CallRule, ...] = (_not_of_the_tier, _window_too_small, _too_dear)
"""The rules that depend on the caller, the size of the call, or the state of endpoints."""
SELECTOR_RULES: tuple[Callable[[Candidate, CallCostInputs], CandidateRejection | None], ...] = (
    _beyond_the_api,
    _window_too_small,
    _too_dear,
)
"""The rules for options that a selector sets."""
