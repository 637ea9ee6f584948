"""The decision for one call, as values: the endpoints that may serve it, and those that may not, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..cached import cached_property
from ..caller import HOUSE
from ..model_config import OWN
from ..options import NO_OPTIONS, Options, request_kwargs
from ..receipt import called
from ..state.health import Circuit
from ..strategies import ORDERED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime

    from ..budgets import Balance
    from ..caller import Caller
    from ..model_config import Account, Endpoint, Feature, Override, Share
    from ..state.health import Unavailable
    from ..state.load import Target
    from ..state.rate_limiter import Meter
    from ..strategies import Strategy
    from ..types import KeyOwner, KeyPolicy, Per


ON_TRIAL = -1
"""The tier of an endpoint that is on trial: before all others."""


ABILITIES: Final = 7
"""The first so many of what a call needs are what an endpoint has to be able to do."""


class Needs(NamedTuple):
    """What a call needs of an endpoint.

    Attributes:
        remote_images: Pictures that are named by an address, not sent along.
        audio: Sounds, ``video`` and ``pdf`` the same.
        tokens: A careful estimate of the prompt's length; 0 if unknown.
        streams: Whether the answer is handed on as it comes.
        options: The options of the call, laid over the feature's.
        endpoint: The endpoint that the call itself names, before those of the feature.
        fallbacks: Whether others may serve it if that one does not; without a name, the one that stands first.
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
    def declared(cls, feature: Feature) -> Needs:
        """The needs that the row of ``feature`` declares for each of its calls."""
        return cls(
            tools=feature.tools,
            structured_output=feature.structured_output,
            images=feature.images,
            audio=feature.audio,
            video=feature.video,
            pdf=feature.pdf,
        )


class SkipCode(StrEnum):
    """Why an endpoint may not serve."""

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
    """An endpoint that may serve, and whose key pays.

    Attributes:
        account: The house's account that the key belongs to; None for a user's key, and where there are no keys.
        key: The fingerprint of the key.
        tier: Its place among the tiers of the chain: all of one are tried before the next one's.
        place: Its place in the tier as it is written.
        select: How one is chosen among the endpoints of its tier, and ``scope`` what that choice is called.
        meters: The limits that its requests count for.
        options: What it is asked with: the call's options over the feature's over the endpoint's own.
        extra_body: What its request has beside ours.
        rest: Why it is better not used now; only if nothing else is left, and then it is waited for, or probed.
        is_lowered: Whether it is of the profile below that of the call, for whose budget that was too dear.
    """

    endpoint: Endpoint
    owner: KeyOwner
    profile: str
    layer: str
    group: str | None = None
    account: Account | None = None
    key: str = "open"
    tier: int = 0
    place: int = 0
    select: Strategy = ORDERED
    scope: str = ""
    meters: tuple[Meter, ...] = ()
    options: Options = NO_OPTIONS
    extra_body: Mapping[str, Any] | None = field(default=None, compare=False)
    rest: Unavailable | None = None
    is_lowered: bool = False

    @cached_property
    def circuit(self) -> Circuit:
        """The key under which `Health` keeps the state of this endpoint with this credential."""
        return Circuit(str(self.endpoint), self.key, self.owner, self.account_name)

    @cached_property
    def key_circuit(self) -> Circuit:
        """The key under which `Health` keeps the state of the credential, whichever endpoint of the provider is asked."""
        return Circuit(self.endpoint.provider.name, self.key, self.owner, self.account_name)

    @cached_property
    def target(self) -> Target:
        """The key under which `Traffic` keeps load and latency: users' keys count together, and so do the endpoints that they bring."""
        provider = self.endpoint.provider
        name = provider.name if provider.access == OWN else str(self.endpoint)
        return (name, "users" if self.owner == "user" else self.key)

    @cached_property
    def rank(self) -> tuple[KeyOwner, int]:
        """The owner of the key and the number of the tier: all candidates of one rank are tried before the next rank."""
        return self.owner, self.tier

    @cached_property
    def budget_key(self) -> str:
        """The key of the retry budget: each provider has one for the house and one for users, so that neither uses up the other's."""
        return f"{self.endpoint.provider.name} for the {self.owner}"

    @property
    def is_balanced(self) -> bool:
        """Whether the endpoints of the candidate's tier are interchangeable, so that none is second best."""
        return self.select.balanced

    @property
    def share(self) -> int:
        """The weight of the account: its part of the endpoint's requests, beside other accounts."""
        return self.account.weight if self.account else 1

    @cached_property
    def account_name(self) -> str | None:
        """The name of the house's account that pays; None if the provider has only one, or a user pays."""
        return self.account.name if self.account else None

    @property
    def name(self) -> str:
        """The endpoint as people are told it, with the account if the provider has several."""
        return called(self.endpoint, self.account_name)

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The options of the request as keyword arguments of the provider's API."""
        endpoint = self.endpoint
        provider = endpoint.provider
        return request_kwargs(self.options, provider.api, endpoint.can, endpoint.api_mode, provider.vendor)

    @cached_property
    def room(self) -> int:
        """The longest prompt that leaves room for the answer, in tokens."""
        return self.endpoint.can.room(self.options.max_output_tokens)


class Overrun(NamedTuple):
    """The budget for which a request is too dear.

    Attributes:
        resets_at: When it begins anew, and ``seconds`` until then; None if it never does.
        is_held: Whether there would be room if the requests under way used nothing.
        is_away: Whether it is not too dear, but nobody can say.
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
class Rejection:
    """A candidate that may not serve, and why.

    Attributes:
        rest: Set if it may again in a while.
        over: Set if it is too dear for a budget.
        disabled: Set if a person took the endpoint out. Their words are in no reason: those are told to anybody.
    """

    candidate: Candidate
    code: SkipCode
    reason: str
    rest: Unavailable | None = None
    over: Overrun | None = None
    disabled: Override | None = None

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint that may not serve."""
        return self.candidate.endpoint

    @property
    def account(self) -> str | None:
        """The house's account with which it may not; None if there is only one, or none."""
        return self.candidate.account_name

    @property
    def name(self) -> str:
        """The endpoint as people are told it, with the account if the provider has several."""
        return self.candidate.name


@dataclass(frozen=True)
class Hedge:
    """The delay after which a second endpoint is asked beside the first one.

    Attributes:
        after: Seconds; None while too few answers are known, or if the feature may never hedge.
        known: The number of answers of the first endpoint from which ``after`` was computed.
        never: The reason why no second endpoint is ever asked; None if one may be.
    """

    after: float | None
    known: int
    never: str | None = None


class Route(NamedTuple):
    """The decision for one call.

    Attributes:
        candidates: In the order in which they are tried.
        resting: Those of ``skipped`` that only rest: if nothing else is left, they are looked at again.
        skipped: In the order in which they stood.
        preferred: The one that would be tried first if all were well; None if the demo model stands in for it.
        needs: What was asked for.
        today: The day of the decision.
        caller: Who asks.
        share: The endpoint on trial that the caller gets first, if any.
        arm: Which arm of the feature's split the caller is in: an endpoint on trial, or ``control``; None without one.
        is_shadow: Whether it is that of a copy, whose answer is thrown away.
        demo: True if the demo model serves because the house has no key.
        hedge: When a second endpoint is asked beside the first; None if the feature does not hedge.
        budgets: What is left of those that the call may count for, where somebody looked.
        notice: What people should know of how much this process sees of the others, if anything; where somebody looked.
        call_id: The id of the call that it is for, a UUIDv7; nothing if it only explains.
    """

    feature: Feature
    profile: str
    policy: KeyPolicy
    candidates: tuple[Candidate, ...]
    skipped: tuple[Rejection, ...]
    demo: bool
    table_hash: str
    needs: Needs
    today: date
    preferred: Candidate | None = None
    caller: Caller = HOUSE
    share: Share | None = None
    arm: str | None = None
    is_shadow: bool = False
    hedge: Hedge | None = None
    resting: tuple[Candidate, ...] = ()
    budgets: tuple[Balance, ...] = ()
    call_id: str = ""
    notice: str | None = None

    @property
    def options(self) -> Options:
        """The options of the call laid over the feature's. A `Candidate` lays these over its endpoint's own."""
        return self.needs.options.over(self.feature.options)

    @property
    def deadline(self) -> float:
        """Seconds for the whole call."""
        return self.feature.deadline

    def is_degraded(self, served_by: Candidate) -> bool:
        """Whether an answer of ``served_by`` is second best."""
        best = self.preferred
        if best is None:
            return True
        is_equal = served_by.is_balanced and served_by.rank == best.rank
        return served_by.endpoint != best.endpoint and not is_equal
