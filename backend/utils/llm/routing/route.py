"""The decision for one call, as values: the endpoints that may serve it, and those that may not, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..cached import cached_property
from ..caller import HOUSE
from ..model_config import OWN
from ..options import NO_OPTIONS, Options, make_request_kwargs
from ..receipt import endpoint_label
from ..state.health import Circuit
from ..strategies import ORDERED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime

    from ..budgets import BudgetBalance
    from ..caller import Caller
    from ..model_config import Endpoint, Feature, HouseAccount, Override, TrafficShare
    from ..state.health import UnavailableReason
    from ..state.load import Target
    from ..state.rate_limiter import MeteredScope
    from ..strategies import SelectionStrategy
    from ..types import KeyOwner, KeyPolicy, Per


ON_TRIAL = -1
"""The tier number of an endpoint on trial, lower than all others."""


ABILITIES: Final = 7
"""The number of fields of `Needs`, counted from the first, that are abilities of an endpoint."""


class Needs(NamedTuple):
    """The needs of a call: the abilities that an endpoint must have, the prompt's size, and settings.

    Attributes:
        remote_images: Whether the prompt has images given by URL.
        tokens: An estimate of the prompt's length in tokens; 0 if unknown.
        options: The options of the call, which override the feature's.
        endpoint: The endpoint that the call itself names, tried before those of the feature.
        fallbacks: Whether other endpoints may serve the call if the first one does not.
    """

    tools: bool = False
    structured_output: bool = False
    images: bool = False
    remote_images: bool = False
    audio: bool = False
    video: bool = False
    pdf: bool = False
    tokens: int = 0
    streams: bool = False
    options: Options = NO_OPTIONS
    endpoint: str | None = None
    fallbacks: bool = True

    @classmethod
    def from_feature(cls, feature: Feature) -> Needs:
        """Make the needs of a call from the abilities that the table declares for ``feature``; tokens are 0."""
        return cls(
            tools=feature.tools,
            structured_output=feature.structured_output,
            images=feature.images,
            audio=feature.audio,
            video=feature.video,
            pdf=feature.pdf,
        )


class RejectionCode(StrEnum):
    """The codes of the reasons for which an endpoint may not serve a call."""

    NO_PACKAGE = "no_package"
    NO_KEY = "no_key"
    NOT_YOUR_KEY = "not_your_key"
    NO_TOOLS = "no_tools"
    NO_STRUCTURED_OUTPUT = "no_structured_output"
    NO_IMAGES = "no_images"
    NO_REMOTE_IMAGES = "no_remote_images"
    NO_AUDIO = "no_audio"
    NO_VIDEO = "no_video"
    NO_PDF = "no_pdf"
    WINDOW = "context_window"
    RETIRED = "retired"
    OPTION = "option"
    TIER = "tier"
    PRICE = "price"
    BUDGET = "budget"
    BUDGET_AWAY = "budget_unavailable"
    UNSUPPORTED = "unsupported"
    EMBEDDING = "embedding"
    ADDRESS = "address"
    DISABLED = "disabled"
    SPLIT_OVER = "split_over"
    LIMITED = "limited"
    COOLING = "cooling"
    OPEN = "open"
    PROBING = "probing"


@dataclass(frozen=True)
class Candidate:
    """An endpoint that may serve a call, with the key that pays: a user's, or the operator's (``house``).

    Attributes:
        account: The operator's account that the key belongs to; None for a user's key, or without keys.
        key: The fingerprint of the key; ``open`` without a key, or until a user's key is filled in.
        tier: The number of its tier in the chain; all endpoints of a tier are tried before the next tier.
        place: Its index in the tier as written in the table.
        select: The strategy of its tier.
        scope: The name under which the strategy counts its choices.
        meters: The limits that its requests count for.
        options: The options of its requests: the call's over the feature's over the endpoint's own.
        rest: Why it is unavailable now; None if it is available. Tried then only if no other is left.
        is_lowered: Whether it is of a cheaper profile, to which a budget's ``step_down_at`` moved the call.
    """

    endpoint: Endpoint
    owner: KeyOwner
    profile: str
    layer: str
    group: str | None = None
    account: HouseAccount | None = None
    key: str = "open"
    tier: int = 0
    place: int = 0
    select: SelectionStrategy = ORDERED
    scope: str = ""
    meters: tuple[MeteredScope, ...] = ()
    options: Options = NO_OPTIONS
    extra_body: Mapping[str, Any] | None = field(default=None, compare=False)
    rest: UnavailableReason | None = None
    is_lowered: bool = False

    @cached_property
    def endpoint_circuit(self) -> Circuit:
        """The key in `HealthTracker` of the breaker and the cooldown of this endpoint with this credential."""
        return Circuit(str(self.endpoint), self.key, self.owner, self.account_name)

    @cached_property
    def credential_circuit(self) -> Circuit:
        """The key in `HealthTracker` of this credential's cooldown, at all endpoints of the provider."""
        return Circuit(self.endpoint.provider.name, self.key, self.owner, self.account_name)

    @cached_property
    def traffic_key(self) -> Target:
        """The key of its load and latency: endpoint (or ``own``), and operator's key (or ``users``)."""
        provider = self.endpoint.provider
        name = provider.name if provider.access == OWN else str(self.endpoint)
        return (name, "users" if self.owner == "user" else self.key)

    @cached_property
    def rank(self) -> tuple[KeyOwner, int]:
        """The owner of the key and the number of the tier. All candidates of a rank are tried before the next rank."""
        return self.owner, self.tier

    @cached_property
    def retry_budget_key(self) -> str:
        """The name of its retry budget: each provider has one for the operator's keys and one for users' keys."""
        return f"{self.endpoint.provider.name} for the {self.owner}"

    @property
    def is_interchangeable(self) -> bool:
        """Whether all endpoints of its tier are equally good, so that an answer from any of them is not degraded."""
        return self.select.balanced

    @property
    def account_weight(self) -> int:
        """The weight of the operator's account in the distribution of requests over accounts; 1 without accounts."""
        return self.account.weight if self.account else 1

    @cached_property
    def account_name(self) -> str | None:
        """The name of the operator's account that pays; None if the account has no name, or if a user pays."""
        return self.account.name if self.account else None

    @property
    def display_name(self) -> str:
        """The endpoint's name for people, with the account if the provider has several."""
        return endpoint_label(self.endpoint, self.account_name)

    @cached_property
    def api_kwargs(self) -> Mapping[str, Any]:
        """The options of the request, translated into keyword arguments of the provider's API."""
        endpoint = self.endpoint
        provider = endpoint.provider
        return make_request_kwargs(
            self.options, provider.api, endpoint.can, endpoint.api_mode, provider.vendor
        )

    @cached_property
    def max_prompt_tokens(self) -> int:
        """The longest prompt, in tokens, that leaves enough of the context window for the answer."""
        return self.endpoint.can.max_prompt_tokens(self.options.max_output_tokens)


class BudgetShortfall(NamedTuple):
    """A budget that has too little left for a request, or cannot be read.

    Attributes:
        resets_at: The moment at which the budget is reset; None if never or unknown.
        seconds: The seconds from now to ``resets_at``.
        is_held: Whether enough would be left if the requests in flight used nothing.
        is_away: Whether the counters cannot be read, so that nobody knows what is left.
        steps_down: Whether a cheaper profile may serve instead.
    """

    budget: str
    per: Per
    resets_at: datetime | None
    seconds: float | None
    is_held: bool = False
    is_away: bool = False
    steps_down: bool = False


@dataclass(frozen=True)
class CandidateRejection:
    """A candidate that may not serve a call, and why.

    Attributes:
        rest: The reason, if the endpoint is only temporarily unavailable.
        over: The budget, if too little of it is left for the request, or if it cannot be read.
        disabled: The override by which a person disabled the endpoint, if any. The person's own reason is
            not in ``reason``, which anybody may see.
    """

    candidate: Candidate
    code: RejectionCode
    reason: str
    rest: UnavailableReason | None = None
    over: BudgetShortfall | None = None
    disabled: Override | None = None

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint that may not serve the call."""
        return self.candidate.endpoint

    @property
    def account(self) -> str | None:
        """The operator's account for which the endpoint was rejected; None if the provider has no named accounts."""
        return self.candidate.account_name

    @property
    def display_name(self) -> str:
        """The endpoint's name for people, with the account if the provider has several."""
        return self.candidate.display_name


@dataclass(frozen=True)
class HedgeDelay:
    """The delay after which a second request is sent because the first is slow.

    Attributes:
        after: Seconds until the second request; None with ``never``, or while too few latencies are known.
        known: The number of latencies of the first endpoint from which ``after`` was computed.
        never: The reason why no second request may ever be sent; None if there is no such reason.
    """

    after: float | None
    known: int
    never: str | None = None


class Route(NamedTuple):
    """The decision for one call: which endpoints serve it, in which order, and why the others do not.

    Attributes:
        candidates: The endpoints that may serve the call, in the order in which they are tried.
        resting: Candidates in ``skipped`` that are only unavailable now, tried if nothing else is left.
        skipped: The endpoints that may not serve, in the order of the chain.
        preferred: The first candidate if all were available; None if the demo model serves.
        share: The endpoint on trial that is tried first for the caller, if any.
        arm: The caller's arm of the A/B split: an endpoint on trial, or ``control``; None without a split.
        is_shadow: Whether it is the route of a copy for a shadow endpoint.
        demo: Whether the demo model serves because the operator has configured no key.
        hedge: When the first request is hedged; None if the feature does not hedge.
        budgets: The balances of the budgets that the call may count for, if they were read.
        notice: A warning if the state of other processes is not received; set only by `explain`.
        call_id: The id of its call, a UUIDv7; empty if the route only explains.
    """

    feature: Feature
    profile: str
    policy: KeyPolicy
    candidates: tuple[Candidate, ...]
    skipped: tuple[CandidateRejection, ...]
    demo: bool
    table_hash: str
    needs: Needs
    today: date
    preferred: Candidate | None = None
    caller: Caller = HOUSE
    share: TrafficShare | None = None
    arm: str | None = None
    is_shadow: bool = False
    hedge: HedgeDelay | None = None
    resting: tuple[Candidate, ...] = ()
    budgets: tuple[BudgetBalance, ...] = ()
    call_id: str = ""
    notice: str | None = None

    @property
    def options(self) -> Options:
        """The options of the call, with the feature's as defaults. `Candidate.options` adds the endpoint's."""
        return self.needs.options.with_defaults(self.feature.options)

    @property
    def deadline_seconds(self) -> float:
        """Seconds from the start of the call until it fails with a `CallTimeoutError`."""
        return self.feature.deadline

    def is_degraded(self, served_by: Candidate) -> bool:
        """Whether an answer of ``served_by`` is degraded: from neither the preferred nor an equally good endpoint."""
        best = self.preferred
        if best is None:
            return True
        is_equal = served_by.is_interchangeable and served_by.rank == best.rank
        return served_by.endpoint != best.endpoint and not is_equal
