"""Which endpoints may serve a call, in which order, with whose key; and why the others may not.

`plan` is pure and total. What `explain` shows is what a call made at that moment does, because both call `plan`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from .catalogue import LACKS
from .errors import LLMError, MissingCredentialError, NoEndpointError
from .failures import LONGEST_WAIT, POLICY
from .forecast import consequences, estimate
from .health import Circuit
from .keys import fingerprint
from .options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date

    from .caller import Caller, KeyOwner, KeyPolicy
    from .health import Health, Rest
    from .model_config import Chain, Endpoint, Feature, Snapshot


@dataclass(frozen=True)
class Needs:
    """What a call needs of an endpoint.

    Attributes:
        remote_images: Pictures that are named by an address, not sent along.
        tokens: A careful estimate of the prompt's length; 0 if unknown.
        options: The options of the call, laid over the feature's.
    """

    tools: bool = False
    structured_output: bool = False
    images: bool = False
    remote_images: bool = False
    tokens: int = 0
    options: Options = field(default_factory=Options)


class SkipCode(StrEnum):
    """Why an endpoint may not serve."""

    NO_KEY = "no_key"
    NOT_YOUR_KEY = "not_your_key"
    NO_TOOLS = "no_tools"
    NO_STRUCTURED_OUTPUT = "no_structured_output"
    NO_IMAGES = "no_images"
    NO_REMOTE_IMAGES = "no_remote_images"
    WINDOW = "context_window"
    RETIRED = "retired"
    OPTION = "option"
    COOLING = "cooling"
    OPEN = "open"
    PROBING = "probing"


@dataclass(frozen=True)
class Candidate:
    """An endpoint that may serve, and whose key pays.

    Attributes:
        key: The fingerprint of the key.
        options: What it is asked with: the call's options over the feature's over the endpoint's own.
        rest: Why it is better not used now; only if nothing else is left, and then it is waited for, or probed.
    """

    endpoint: Endpoint
    owner: KeyOwner
    profile: str
    layer: str
    group: str | None = None
    key: str = "open"
    options: Options = field(default_factory=Options)
    rest: Rest | None = None

    @cached_property
    def circuit(self) -> Circuit:
        """What health knows it by."""
        return Circuit(str(self.endpoint), self.key)

    @cached_property
    def key_circuit(self) -> Circuit:
        """What health knows its key by."""
        return Circuit(self.endpoint.provider.name, self.key)

    @property
    def room(self) -> int:
        """The longest prompt that leaves room for the answer, in tokens."""
        return self.endpoint.can.room(self.options.max_output_tokens)


@dataclass(frozen=True)
class Skip:
    """An endpoint that may not serve, and why.

    Attributes:
        rest: Set if it may again in a while.
    """

    endpoint: Endpoint
    code: SkipCode
    reason: str
    rest: Rest | None = None


@dataclass(frozen=True)
class Route:
    """The decision for one call.

    Attributes:
        candidates: In the order in which they are tried.
        skipped: In the order in which they stood.
        preferred: The endpoint that would be tried first if all were well; any other one's answer is second best.
        needs: What was asked for.
        today: The day of the decision.
        demo: True if the demo model serves because the house has no key.
    """

    feature: Feature
    profile: str
    policy: KeyPolicy
    candidates: tuple[Candidate, ...]
    skipped: tuple[Skip, ...]
    options: Options
    deadline: float
    demo: bool
    table_hash: str
    preferred: Endpoint | None = None
    needs: Needs = field(default_factory=Needs)
    today: date | None = None

    def refusal(self) -> LLMError | None:
        """The error of a call that no endpoint may serve; None if one may."""
        if self.candidates:
            return None
        name = self.feature.name
        keyless = [skip for skip in self.skipped if skip.code in {SkipCode.NO_KEY, SkipCode.NOT_YOUR_KEY}]
        if keyless and len(keyless) == len(self.skipped):
            providers = ", ".join(dict.fromkeys(skip.endpoint.provider.name for skip in keyless))
            return MissingCredentialError(_missing_key(name, self.policy, providers, keyless), feature=name)
        reasons = "; ".join(dict.fromkeys(f"{skip.endpoint}: {skip.reason}" for skip in self.skipped))
        rests = [skip.rest for skip in self.skipped if skip.rest is not None]
        if rests:
            soonest = min(rests, key=lambda rest: rest.seconds)
            return POLICY[soonest.category].error(
                f"Every endpoint that may serve {name!r} is resting. {reasons}.",
                feature=name,
                retry_after=soonest.seconds,
            )
        return NoEndpointError(f"No endpoint can serve {name!r} for this call. {reasons}.", feature=name)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "feature": self.feature.name,
            "profile": self.profile,
            "policy": self.policy,
            "demo": self.demo,
            "table_hash": self.table_hash,
            "deadline_s": self.deadline,
            "options": self.options.model_dump(exclude_none=True),
            "candidates": [
                {
                    "endpoint": str(candidate.endpoint),
                    "model_id": candidate.endpoint.model_id,
                    "host": candidate.endpoint.provider.host,
                    "key_owner": candidate.owner,
                    "profile": candidate.profile,
                    "group": candidate.group,
                    "layer": candidate.layer,
                    "options": candidate.options.model_dump(exclude_none=True),
                    "rest": candidate.rest and _rest_reason(candidate.rest),
                    "estimate": self._estimate(candidate),
                    "on_failure": self._on_failure(candidate),
                }
                for candidate in self.candidates
            ],
            "skipped": [
                {"endpoint": str(skip.endpoint), "code": skip.code.value, "reason": skip.reason}
                for skip in self.skipped
            ],
        }

    def _estimate(self, candidate: Candidate) -> dict[str, Any] | None:
        if self.today is None:
            return None
        answer = candidate.options.max_output_tokens
        return estimate(candidate.endpoint, self.needs.tokens, answer, self.today)

    def _price(self, candidate: Candidate) -> str:
        told = self._estimate(candidate) if self.needs.tokens else None
        if told is None:
            return ""
        return (
            f"  ${told['prompt_usd']} to ${told['at_most_usd']}" if told["prompt_usd"] else "  price unknown"
        )

    def _on_failure(self, candidate: Candidate) -> dict[str, Any]:
        follow = consequences(self.feature, candidate.endpoint, candidate.owner)
        return {category.value: asdict(what) for category, what in follow.items()}

    @override
    def __str__(self) -> str:
        head = f"{self.feature.name}  profile {self.profile}  keys {self.policy}  table {self.table_hash}"
        lines = [head + ("  DEMO: the house has no key configured" if self.demo else "")]
        lines += [
            f"  {place}. {candidate.endpoint}  {candidate.owner}'s key  ({candidate.layer})"
            + (f"  {_rest_reason(candidate.rest)}" if candidate.rest else "")
            + self._price(candidate)
            for place, candidate in enumerate(self.candidates, 1)
        ]
        lines += [f"  -  {skip.endpoint}  skipped: {skip.reason}" for skip in self.skipped]
        refusal = self.refusal()
        return "\n".join(lines if refusal is None else [*lines, f"  ✗  {refusal}"])


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
    above = _laid(needs.options, named.options)
    settled = (
        replace(one, key=_key(one, caller, snapshot), options=_laid(above, one.endpoint.options))
        for one in _ordered(snapshot, named, caller)
    )
    judged = [
        _skip(one, caller, snapshot, needs, today) or replace(one, rest=rest_of(one, health))
        for one in settled
    ]
    able = _each_once(one for one in judged if isinstance(one, Candidate))
    candidates = [one for one in able if one.rest is None] or _last_resort(able, named)
    kept = {one.endpoint for one in candidates}
    skipped = [skip for one in judged if one.endpoint not in kept and (skip := _left_out(one)) is not None]
    return Route(
        feature=named,
        profile=snapshot.profile if caller.policy == "house_only" else snapshot.byok_profile,
        policy=caller.policy,
        candidates=tuple(candidates),
        skipped=tuple(dict.fromkeys(skipped)),
        options=above,
        deadline=named.deadline,
        demo=snapshot.demo_active and caller.policy != "byok_only",
        table_hash=snapshot.hash,
        preferred=able[0].endpoint if able else None,
        needs=needs,
        today=today,
    )


def _ordered(snapshot: Snapshot, feature: Feature, caller: Caller) -> Iterator[Candidate]:
    """Every endpoint of the feature in order of preference, the caller's own keys before the house's."""
    if caller.policy != "house_only":
        chain = snapshot.chain(feature.name, snapshot.byok_profile)
        yield from _candidates(chain, "user", snapshot.byok_profile)
    if caller.policy == "byok_only":
        return
    if snapshot.demo_active and snapshot.demo is not None:
        yield Candidate(snapshot.demo, "house", snapshot.profile, "demo: the house has no key configured")
    else:
        yield from _candidates(snapshot.chain(feature.name, snapshot.profile), "house", snapshot.profile)


def _candidates(chain: Chain, owner: KeyOwner, profile: str) -> Iterator[Candidate]:
    for tier in chain.tiers:
        for endpoint in tier.endpoints:
            yield Candidate(endpoint, owner, profile, chain.layer, tier.group)


def _skip(candidate: Candidate, caller: Caller, snapshot: Snapshot, needs: Needs, today: date) -> Skip | None:
    endpoint = candidate.endpoint
    found = (
        _key_missing(candidate, caller, snapshot)
        or _retired(endpoint, today)
        or _ability_missing(endpoint, needs)
        or _chat_tools_missing(candidate, needs)
        or _option_refused(candidate, snapshot)
        or _window_too_small(candidate, needs)
    )
    return Skip(endpoint, *found) if found else None


def _key_missing(candidate: Candidate, caller: Caller, snapshot: Snapshot) -> tuple[SkipCode, str] | None:
    provider = candidate.endpoint.provider
    if candidate.owner == "user":
        if provider.name in caller.keys:
            return None
        return SkipCode.NOT_YOUR_KEY, f"the caller brought no key for {provider.name}"
    if provider.access == "key" and provider.name not in snapshot.house_keys:
        return SkipCode.NO_KEY, f"{provider.api_key_env} is not set"
    return None


def _retired(endpoint: Endpoint, today: date) -> tuple[SkipCode, str] | None:
    gone = endpoint.retirement
    if gone is None or gone.day > today:
        return None
    heir = f"; its vendor names {gone.replacement} instead" if gone.replacement else ""
    return SkipCode.RETIRED, f"{endpoint.model} was retired on {gone.day}{heir}"


def _ability_missing(endpoint: Endpoint, needs: Needs) -> tuple[SkipCode, str] | None:
    for ability, lack in LACKS.items():
        if getattr(needs, ability) and not getattr(endpoint.can, ability):
            return SkipCode(f"no_{ability}"), f"{endpoint.model} {lack}"
    if needs.remote_images and endpoint.provider.api == "gemini":
        # Its adapter would fetch the picture itself, from here, past the transport: whatever address a prompt names.
        return SkipCode.NO_REMOTE_IMAGES, "the gemini API takes pictures only as data, not by their address"
    return None


def _chat_tools_missing(candidate: Candidate, needs: Needs) -> tuple[SkipCode, str] | None:
    """Of models that can call tools in general; `_ability_missing` tells of the others."""
    endpoint = candidate.endpoint
    if not needs.tools or endpoint.takes_tools(candidate.options.effort):
        return None
    return SkipCode.NO_TOOLS, f'{endpoint.model} takes tools like this only with api_mode = "responses"'


def _option_refused(candidate: Candidate, snapshot: Snapshot) -> tuple[SkipCode, str] | None:
    """The demo endpoint stands in for all others, so what it has no word for is left out there."""
    endpoint = candidate.endpoint
    api, can, mode = endpoint.provider.api, endpoint.can, endpoint.api_mode
    refused = candidate.options.problems(api, endpoint.model, can, mode)
    if not refused or endpoint == snapshot.demo:
        return None
    return SkipCode.OPTION, "; ".join(f"{option}: {reason}" for option, reason in refused)


def _window_too_small(candidate: Candidate, needs: Needs) -> tuple[SkipCode, str] | None:
    if needs.tokens <= candidate.room:
        return None
    window = candidate.endpoint.can.context_window
    return (
        SkipCode.WINDOW,
        f"about {needs.tokens} tokens exceed the {candidate.room} that its window of {window} leaves",
    )


# Health ------------------------------------------------------------------------------------------------------------


def _key(candidate: Candidate, caller: Caller, snapshot: Snapshot) -> str:
    keys = caller.keys if candidate.owner == "user" else snapshot.house_keys
    return fingerprint(keys.get(candidate.endpoint.provider.name))


def rest_of(candidate: Candidate, health: Health | None) -> Rest | None:
    """Why ``candidate``, or its key, is better not used now."""
    if health is None:
        return None
    return health.resting(candidate.key_circuit) or health.resting(candidate.circuit)


def _each_once(candidates: Iterable[Candidate]) -> list[Candidate]:
    """A chain may name an endpoint twice, and a user's key may be the house's; the first time counts."""
    first: dict[Circuit, Candidate] = {}
    for candidate in candidates:
        first.setdefault(candidate.circuit, candidate)
    return list(first.values())


def _last_resort(able: list[Candidate], feature: Feature) -> list[Candidate]:
    """All that could serve is resting: those whose breaker may be probed, then those that can be waited for."""
    worth = [one for one in able if one.rest is not None and _is_within_reach(one.rest, feature)]
    return sorted(
        worth,
        key=lambda one: one.rest.seconds if one.rest is not None and one.rest.kind == "cooling" else 0.0,
    )


def _is_within_reach(rest: Rest, feature: Feature) -> bool:
    if rest.kind != "cooling":
        return True
    wait_pays = POLICY[rest.category].again == "retry"
    return wait_pays and rest.seconds <= min(LONGEST_WAIT, feature.deadline)


def _left_out(judged: Candidate | Skip) -> Skip | None:
    if isinstance(judged, Skip):
        return judged
    return None if judged.rest is None else resting(judged, judged.rest)


def resting(candidate: Candidate, rest: Rest) -> Skip:
    """``candidate`` as one that is not tried because it rests."""
    return Skip(candidate.endpoint, SkipCode(rest.kind), _rest_reason(rest), rest)


def _rest_reason(rest: Rest) -> str:
    """In words: what happened, and for how long it counts."""
    what = POLICY[rest.category].sentence
    match rest.kind:
        case "cooling":
            return f"it {what}; left alone for {rest.seconds:.0f} s more"
        case "open":
            return f"it {what} again and again; left alone for {rest.seconds:.0f} s more"
        case "probing":
            return f"it {what} again and again; a probe is under way"


def _laid(above: Options, below: Options) -> Options:
    return above.over(below) if below.model_fields_set else above


def _missing_key(feature: str, policy: KeyPolicy, providers: str, skips: list[Skip]) -> str:
    if policy == "byok_only":
        return (
            f"None of your keys can serve {feature!r}: it runs on {providers}. Add a key for one of them; "
            "keys of the house are not used in your stead."
        )
    variables = ", ".join(dict.fromkeys(skip.endpoint.provider.api_key_env or "" for skip in skips))
    return f"No key is configured for {feature!r}: it runs on {providers}. Set one of {variables}."
