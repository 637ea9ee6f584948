"""What an endpoint must satisfy to serve a call at all: each rule with its code and its sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from ..estimates import most_usd
from ..model_config import ByTier
from ..models import LACKS
from .route import Skip, SkipCode
from .selection import tier_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from ..caller import Caller
    from ..model_config import Feature, Snapshot
    from ..state.health import Health
    from ..types import KeyPolicy
    from .route import Candidate, Needs

Fault = tuple[SkipCode, str]


class Case(NamedTuple):
    """One call to decide: all that the decision depends on."""

    snapshot: Snapshot
    feature: Feature
    caller: Caller
    needs: Needs
    today: date
    health: Health

    @property
    def policy(self) -> KeyPolicy:
        """Whose keys may pay."""
        return self.caller.policy_for(self.feature)


CaseT = TypeVar("CaseT")
Rule = Callable[["Candidate", Case], "Fault | None"]


class Sized(Protocol):
    """What the rules of size go by: a `Case`, or the route that came of it."""

    @property
    def feature(self) -> Feature:
        """What is called."""
        ...

    @property
    def needs(self) -> Needs:
        """What the call needs of an endpoint."""
        ...

    @property
    def today(self) -> date:
        """The day, for prices."""
        ...


def skip(
    candidate: Candidate, case: CaseT, rules: Iterable[Callable[[Candidate, CaseT], Fault | None]]
) -> Skip | None:
    """Why ``candidate`` may not serve by ``rules``; None if it may."""
    for rule in rules:
        fault = rule(candidate, case)
        if fault is not None:
            return Skip(candidate.endpoint, *fault, account=candidate.account_name)
    return None


def _key_missing(candidate: Candidate, case: Case) -> Fault | None:
    provider, account = candidate.endpoint.provider, candidate.account
    if candidate.owner == "user":
        if case.caller.key_for(provider) is not None:
            return None
        return SkipCode.NOT_YOUR_KEY, f"the caller brought no key for {provider.name}"
    if account is not None and account.slot not in case.snapshot.house_keys:
        return SkipCode.NO_KEY, f"{account.api_key_env} is not set"
    return None


def _not_of_the_tier(candidate: Candidate, case: Case) -> Fault | None:
    select = candidate.select
    if not isinstance(select, ByTier):
        return None
    tier = tier_of(select, case.caller)
    allowed, name = select.tiers[tier], str(candidate.endpoint)
    if name not in allowed.endpoints:
        return SkipCode.TIER, f"it is not for the tier {tier!r}"
    if allowed.tokens is None or name != allowed.endpoints[0] or len(allowed.endpoints) == 1:
        return None
    used = case.health.traffic.rate_limiter.used(tier_scope(candidate, case.caller), allowed.tokens)
    if used < allowed.until * allowed.tokens.amount:
        return None
    rate = allowed.tokens
    return (
        SkipCode.TIER,
        f"{used:.0f} of the {rate.amount} tokens per {rate.per} of the tier {tier!r} are used",
    )


def tier_scope(candidate: Candidate, caller: Caller) -> str:
    """What a tier's tokens are counted by: the user, or else the tenant."""
    who = f"user {caller.user_id}" if caller.user_id else f"tenant {caller.tenant_id or ''}"
    return f"{candidate.scope} {who}"


def _retired(candidate: Candidate, case: Case) -> Fault | None:
    gone = candidate.endpoint.retirement
    if gone is None or gone.day > case.today:
        return None
    heir = f"; its vendor names {gone.replacement} instead" if gone.replacement else ""
    return SkipCode.RETIRED, f"{candidate.endpoint.model} was retired on {gone.day}{heir}"


def _ability_missing(candidate: Candidate, case: Case) -> Fault | None:
    endpoint, needs = candidate.endpoint, case.needs
    for ability, lack in LACKS.items():
        if getattr(needs, ability) and not getattr(endpoint.can, ability):
            return SkipCode(f"no_{ability}"), f"{endpoint.model} {lack}"
    if needs.remote_images and endpoint.provider.api == "gemini":
        # Known before anything is asked; all that is not is refused by the adapter, which fetches nothing.
        return SkipCode.NO_REMOTE_IMAGES, "the gemini API takes pictures only as data, not by their address"
    return None


def _chat_tools_missing(candidate: Candidate, case: Case) -> Fault | None:
    """Of models that can call tools in general; `_ability_missing` tells of the others."""
    endpoint = candidate.endpoint
    if not case.needs.tools or endpoint.takes_tools(candidate.options.effort):
        return None
    return SkipCode.NO_TOOLS, f'{endpoint.model} takes tools like this only with api_mode = "responses"'


def _out_of_reach(candidate: Candidate, _: Case) -> Fault | None:
    """Of a caller's own endpoint: what its address alone tells. Where its name leads is tested when it is looked up."""
    provider = candidate.endpoint.provider
    fault = provider.reach.fault(provider.base_url) if provider.reach is not None else None
    return None if fault is None else (SkipCode.ADDRESS, fault)


def _option_refused(candidate: Candidate, case: Case) -> Fault | None:
    """The demo endpoint stands in for all others, so what it has no word for is left out there."""
    fault = _beyond_the_api(candidate, case)
    return None if fault is None or candidate.endpoint == case.snapshot.demo else fault


def _window_too_small(candidate: Candidate, case: Sized) -> Fault | None:
    tokens, room = case.needs.tokens, candidate.room
    if tokens <= room:
        return None
    window = candidate.endpoint.can.context_window
    return SkipCode.WINDOW, f"about {tokens} tokens exceed the {room} that its window of {window} leaves"


def _too_dear(candidate: Candidate, case: Sized) -> Fault | None:
    """A price that nobody knows is no price within the limit, unless nobody bills."""
    most, endpoint = case.feature.max_cost_usd, candidate.endpoint
    if most is None or endpoint.provider.access != "key":
        return None
    answer = candidate.options.max_output_tokens
    could_cost = most_usd(endpoint, case.needs.tokens, answer, case.today)
    if could_cost is not None and could_cost <= most:
        return None
    told = "nobody knows what it costs" if could_cost is None else f"it could cost ${could_cost}"
    return SkipCode.PRICE, f"{told}, and a call may cost ${most}"


def _beyond_the_api(candidate: Candidate, _: Sized) -> Fault | None:
    endpoint = candidate.endpoint
    refused = candidate.options.problems(
        endpoint.provider.api, endpoint.model, endpoint.can, endpoint.api_mode
    )
    return (
        (SkipCode.OPTION, "; ".join(f"{option}: {reason}" for option, reason in refused)) if refused else None
    )


KEY_RULES = (_key_missing,)
"""What comes first: an endpoint that nobody has a key for is not worth another word."""
LASTING_RULES = (_retired, _ability_missing, _chat_tools_missing, _option_refused)
"""What is the same for all calls of a day that need the same abilities."""
OWN_RULES = (_out_of_reach, _ability_missing)
"""The same for an endpoint that a caller brings. It stands in for all others, as the demo endpoint does, and takes what
it has a word for; and whether a vendor still sells its model is nothing to it."""
SIZE_RULES = (_window_too_small, _too_dear)
"""What depends on the length of prompt and answer."""
SELECTOR_RULES = (_beyond_the_api, *SIZE_RULES)
"""What the options must keep to that a selector sets."""
PASSING_RULES = (_not_of_the_tier, *SIZE_RULES)
"""What may change from call to call."""
