"""The resolved table as one immutable object."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from typing_extensions import override

from ..cached import cached_property
from ..errors import UnknownFeatureError
from ..models import OTHER, find_retirement, find_vendor
from ..network_policy import make_network_policy
from ..options import Options
from ..rate_limits import NO_LIMITS, Limits
from ..secrets import PROCESS_KEY
from ..state.experiments import STOP, TrialStopConditions
from ..strategies import ORDERED, CustomStrategy, OrderedStrategy, SelectionStrategy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from decimal import Decimal
    from pathlib import Path

    from pydantic import SecretStr

    from ..budgets import Budget
    from ..models import Capabilities, Effort, ModelRetirement, ModelVendor, SchemaForm
    from ..network_policy import Network, NetworkPolicy
    from ..options import Api, ApiMode
    from .overrides import Override
    from .schema import EmbeddingRow, OnInvalidOutput, TokenPrices
    from .state_server import StateServer

Access = Literal["key", "open", "embedded", "own"]
OWN: Final = "own"
"""The provider's name of a caller's own endpoint, which no provider of the table may have."""


@dataclass(frozen=True)
class HouseAccount:
    """One of the operator's keys at a provider. A provider with a single key has one account without a name.

    Attributes:
        slot: The key in `TableSnapshot.house_keys`: ``openai``, or ``openai/a`` for the account ``a``.
    """

    slot: str
    api_key_env: str
    name: str | None = None
    weight: int = 1
    limits: Limits = NO_LIMITS


@dataclass(frozen=True)
class Provider:
    """A provider as resolved from the table, with its API, address and accounts; or a caller's own endpoint.

    Attributes:
        access: ``key`` needs a credential, ``open`` needs none, ``embedded`` is a process of this
            application whose address and secret are known only while it runs, ``own`` is a caller's own
            endpoint.
        base_url: The URL of the API. For an embedded provider a name that never resolves; the transport
            replaces it with the running process's address.
        network_policy: The permitted addresses of a caller's own endpoint; None for a provider of the table.
        extra_body: Extra fields in the body of every request to the provider.
        vendor: The vendor of the API.
        priced_as: The provider's name in the price list; None if it is the vendor's or its own.
    """

    name: str
    api: Api
    access: Access
    base_url: str
    accounts: tuple[HouseAccount, ...] = ()
    limits: Limits = NO_LIMITS
    user_limits: Limits = NO_LIMITS
    headers: tuple[tuple[str, str], ...] = ()
    model_prefixes: tuple[tuple[str, str], ...] = ()
    network_policy: NetworkPolicy | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict, compare=False)
    vendor: ModelVendor = OTHER
    priced_as: str | None = None

    @property
    def api_key_envs(self) -> tuple[str, ...]:
        """The names of the environment variables that hold the operator's keys, one for each account."""
        return tuple(account.api_key_env for account in self.accounts)

    @property
    def host(self) -> str:
        """The only host to which this provider's credentials may be sent."""
        return urlsplit(self.base_url).hostname or ""

    def model_id(self, model: str) -> str:
        """The id of ``model`` in this provider's requests: ``gpt-6-luna`` is ``openai/gpt-6-luna`` at OpenRouter."""
        if "/" in model:
            return model
        return next(
            (prefix + model for start, prefix in self.model_prefixes if model.startswith(start)), model
        )


@dataclass(frozen=True)
class Endpoint:
    """One model at one provider, such as ``openai:gpt-6-luna``: the target of a request.

    Attributes:
        api_mode: Which of OpenAI's APIs is used: Chat Completions, Responses, or embeddings.
        attempts: The most requests that one call may send to the endpoint; None uses the feature's value.
        options: The options of every request to the endpoint, which a feature's own options override.
        limits: The limits of requests to the endpoint, for each key.
        price: Its price in the table; None to use the price list.
        billed_as: The ``provider:model`` in the price list whose price applies; None if the table does not
            say.
        extra_body: Extra fields in the body of every request to the endpoint.
    """

    provider: Provider
    model: str
    can: Capabilities
    api_mode: ApiMode = "chat"
    attempts: int | None = None
    options: Options = field(default_factory=Options)
    limits: Limits = NO_LIMITS
    price: TokenPrices | None = None
    billed_as: str | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @override
    def __str__(self) -> str:
        return self._name

    @override
    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _name(self) -> str:
        return f"{self.provider.name}:{self.model}"

    @cached_property
    def _hash(self) -> int:
        """The endpoint's hash, cached: every call looks an endpoint up, and hashing all fields takes long."""
        return hash((self._name, self.api_mode, self.options))

    @cached_property
    def model_id(self) -> str:
        """The id of the model in requests to this provider; see `Provider.model_id`."""
        return self.provider.model_id(self.model)

    @cached_property
    def price_list_id(self) -> tuple[str, str]:
        """The provider and the model under which the endpoint is looked up in the price list."""
        if self.billed_as is not None:
            listed, _, model = self.billed_as.partition(":")
            return listed, model
        provider = self.provider
        return provider.priced_as or provider.vendor.name or provider.name, self.model_id

    @property
    def schema_form(self) -> SchemaForm | None:
        """How requests to an OpenAI-compatible API pass the schema of an answer; None for Gemini and Anthropic."""
        return self.can.schema_form if self.provider.api == "openai" else None

    def capability_sources(self) -> dict[str, str]:
        """Where each capability is known from, by name: a page of the vendor, the table, or an assumption."""
        vendor = self.provider.vendor if self.provider.api == "openai" else OTHER
        return vendor.capability_sources(self.model, self.can, self.api_mode)

    def supports_tools(self, effort: Effort | None) -> bool:
        """Whether a request may have tools together with the reasoning ``effort``.

        OpenAI's own Chat Completions API refuses tools for some models, or at some efforts. Its Responses API
        does not.
        """
        is_openais_chat = self.api_mode == "chat" and self.provider.host == "api.openai.com"
        return self.can.can_call_tools_over_chat(effort) if is_openais_chat else self.can.tools

    @property
    def retirement(self) -> ModelRetirement | None:
        """The retirement of the model by its vendor; None if no date is published."""
        return find_retirement(self.model)


@dataclass(frozen=True)
class ChainTier:
    """Endpoints that are all tried before the next tier of their chain: a group, or the chain's own endpoints.

    Attributes:
        group: The name of the group; None for endpoints that the chain names itself.
        select: The strategy that chooses an endpoint of the tier before each attempt.
    """

    endpoints: tuple[Endpoint, ...]
    group: str | None = None
    select: SelectionStrategy = ORDERED


@dataclass(frozen=True)
class EndpointChain:
    """The endpoints of a feature in one profile, in tiers, which are tried one after the other.

    Attributes:
        layer: The configuration layer that set the chain.
        path: The path in the table of the value that set the chain.
        links: That value: names of endpoints and groups.
    """

    tiers: tuple[ChainTier, ...]
    layer: str
    path: str = ""
    links: tuple[str, ...] = ()

    @property
    def direct_endpoint_names(self) -> frozenset[str]:
        """The names of the endpoints that the chain lists directly, not through a group."""
        return frozenset(link for link in self.links if not link.startswith("group:"))

    def __iter__(self) -> Iterator[Endpoint]:
        return (endpoint for tier in self.tiers for endpoint in tier.endpoints)


@dataclass(frozen=True)
class TrafficShare:
    """An endpoint and the percentage of a feature's calls that it gets, in an A/B split or as a shadow."""

    endpoint: Endpoint
    percent: float

    @override
    def __str__(self) -> str:
        return f"{self.endpoint} at {self.percent:g} %"


@dataclass(frozen=True)
class Feature:
    """The settings of a feature, the same in every profile; its endpoints are in `TableSnapshot.chains`.

    Attributes:
        extra_body: Extra fields in the bodies of its requests, by provider.
        embedding: The settings of its vectors; None for a chat feature.
        split: Endpoints on trial: each is tried first for its share of the callers.
        stop: The rules by which a trial ends by itself.
        shadow: Endpoints that get copies of a share of the calls; the answers to copies are dropped.
        limits: The limits of this feature's requests, to all endpoints together.
        budgets: The budgets that its requests may count for, in the order in which their counters are
            locked.
        deadline: Seconds for a whole call, waits and fallbacks included.
        wait: The most seconds that a call waits for an endpoint on cooldown.
        written: The keys that its row has; all other settings are defaults.
        layer: The configuration layer of its row.
        max_cost_usd: The most US dollars that a request may cost; endpoints that could cost more are not
            used.
        attempts: The most requests that one call may send to one endpoint.
        max_attempts: The most requests of one call in all.
        on_refusal: Whether another endpoint may be tried, once, after a refusal.
        on_invalid_output: Whether another endpoint may be tried after an invalid answer and its failed
            repair. With ``best``, if no answer is accepted, the rejected answer with the best score is
            returned.
        hedge: Whether a second request is sent when the first takes longer than nearly all earlier ones.
        house_fallback: Whether the operator may pay for callers with own keys whose policy is
            ``byok_then_house``.
        keep_text_days: The days for which its prompts and answers are stored; None stores none.
        override: The stored override in force for the feature, in every profile; None without.
    """

    name: str
    about: str = ""
    embedding: EmbeddingRow | None = None
    structured_output: bool = False
    tools: bool = False
    images: bool = False
    audio: bool = False
    video: bool = False
    pdf: bool = False
    options: Options = field(default_factory=Options)
    extra_body: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, compare=False)
    split: tuple[TrafficShare, ...] = ()
    stop: TrialStopConditions = STOP
    shadow: tuple[TrafficShare, ...] = ()
    limits: Limits = NO_LIMITS
    budgets: tuple[Budget, ...] = ()
    deadline: float = 120.0
    wait: float = 15.0
    max_cost_usd: Decimal | None = None
    attempts: int = 3
    max_attempts: int = 10
    on_refusal: Literal["raise", "next"] = "raise"
    on_invalid_output: OnInvalidOutput = "next"
    hedge: bool = False
    house_fallback: bool = False
    keep_text_days: int | None = None
    written: frozenset[str] = frozenset()
    layer: str = ""
    override: Override | None = None

    def extra_body_for(self, endpoint: Endpoint) -> dict[str, Any]:
        """Merge the extra body fields for ``endpoint``: the feature's over the endpoint's over the provider's."""
        provider = endpoint.provider
        return {**provider.extra_body, **endpoint.extra_body, **self.extra_body.get(provider.name, {})}


class FeatureMap(dict[str, Feature]):
    """The features of a table by name. A missing name raises `UnknownFeatureError`, which names the nearest.

    Attributes:
        groups: A feature for each ``group:NAME``, found by this name, but not listed by iteration.
    """

    def __init__(self, features: Mapping[str, Feature], groups: Mapping[str, Feature] | None = None) -> None:
        super().__init__(features)
        self.groups = groups or {}

    def __missing__(self, name: str) -> Feature:
        if (group := self.groups.get(name)) is not None:
            return group
        raise UnknownFeatureError(name, [*self, *self.groups])


@dataclass(frozen=True)
class TableSnapshot:
    """The whole table at one moment, resolved and immutable. The receipt of a call has its ``hash``.

    Attributes:
        profile: The profile for calls that the operator pays for.
        profile_layer: The configuration layer that chose ``profile``.
        byok_profile: The profile for callers who bring keys.
        chains: The chains by profile and feature.
        groups: The chains of calls by ``group:NAME``, the same in every profile.
        demo: The endpoint that serves every feature while the operator has no key; None without.
        house_keys: The operator's own keys, by the slot of their account.
        hash: Twelve hex digits over the file, the variables for profiles and features, the stored overrides,
            and the names of the operator's keys, but not the keys.
        source: The path of the file; None for a table from a text.
        private_networks: The networks that callers' own endpoints may be in, beside the public internet.
        aliases: Each alias as written, with the name of its endpoint.
        overrides: The stored overrides in force.
        disabled: The endpoints that stored overrides remove from every chain.
        budgets: The budgets by name.
        step_down_to: Each profile with the next cheaper profile.
        state_server: The server through which processes share limits and health; None if each has its own.
        kept: A cache for what routing computes from this snapshot.
    """

    profile: str
    profile_layer: str
    byok_profile: str
    demo: Endpoint | None
    providers: Mapping[str, Provider]
    features: FeatureMap
    chains: Mapping[str, Mapping[str, EndpointChain]]
    groups: Mapping[str, EndpointChain]
    hash: str
    source: Path | None = None
    house_keys: Mapping[str, SecretStr] = field(default_factory=dict, repr=False)
    private_networks: tuple[Network, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
    disabled: Mapping[str, Override] = field(default_factory=dict)
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    step_down_to: Mapping[str, str] = field(default_factory=dict)
    state_server: StateServer | None = None
    kept: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def fingerprint_hash_key(self) -> bytes:
        """The key to hash API keys with: shared by processes with one state server; without a server, random."""
        return PROCESS_KEY if self.state_server is None else self.state_server.secret

    def chain(self, feature: str, profile: str) -> EndpointChain:
        """The chain of a feature, or of a group, in ``profile``. An unknown name raises ``KeyError``."""
        return self.chains[profile].get(feature) or self.groups[feature]

    @property
    def all_chains(self) -> Iterator[EndpointChain]:
        """The chains of all features in all profiles, then those of all groups."""
        yield from (chain for served in self.chains.values() for chain in served.values())
        yield from self.groups.values()

    @cached_property
    def step_down_snapshot(self) -> TableSnapshot | None:
        """The snapshot with the next cheaper profiles, for calls that a budget's ``step_down_at`` moves to them.

        None if there is no cheaper profile. Trials and shadow endpoints are left out.
        """
        down = self.step_down_to
        house, byok = down.get(self.profile, self.profile), down.get(self.byok_profile, self.byok_profile)
        if (house, byok) == (self.profile, self.byok_profile):
            return None
        features = {name: replace(feature, split=(), shadow=()) for name, feature in self.features.items()}
        return replace(
            self,
            profile=house,
            byok_profile=byok,
            features=FeatureMap(features, self.features.groups),
            kept={},
        )

    @cached_property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """Every endpoint in a chain or a group, by its name and its aliases."""
        named = {str(endpoint): endpoint for chain in self.all_chains for endpoint in chain}
        return named | {alias: named[name] for alias, name in self.aliases.items() if name in named}

    @property
    def custom_selector_paths(self) -> dict[str, str]:
        """For each custom selector that the table names, the path in the table where it is named."""
        return {
            tier.select.name: f"groups.{tier.group}.select" if tier.group else f"features.{feature}.select"
            for served in self.chains.values()
            for feature, chain in served.items()
            for tier in chain.tiers
            if isinstance(tier.select, CustomStrategy)
        }

    @cached_property
    def has_custom_selectors(self) -> bool:
        """Whether a chain or a group names a custom selector."""
        return any(
            isinstance(tier.select, CustomStrategy) for chain in self.all_chains for tier in chain.tiers
        )

    @cached_property
    def has_unordered_strategy(self) -> bool:
        """Whether any strategy of the table may choose another endpoint than the first in the written order."""
        return any(
            not isinstance(tier.select, OrderedStrategy) for chain in self.all_chains for tier in chain.tiers
        )

    @cached_property
    def demo_active(self) -> bool:
        """Whether the demo endpoint serves: the operator has no key, and the table has no ``open`` provider."""
        if self.demo is None:
            return False
        others = (provider for provider in self.providers.values() if provider.access != "embedded")
        return not any(provider.access == "open" or self.has_house_key(provider) for provider in others)

    def has_house_key(self, provider: Provider) -> bool:
        """Whether the operator has a key for ``provider``."""
        return any(account.slot in self.house_keys for account in provider.accounts)


def make_own_endpoint(base_url: str, model: str, networks: tuple[Network, ...]) -> Endpoint:
    """Make the endpoint of a server that a caller brings, at ``base_url``.

    Its capabilities are those of the known model of that name, or else defaults, adapted to the vendor at
    that address. It has no price, because the user pays for it. ``networks`` are the private networks that
    the operator permits beside the public internet.
    """
    vendor, policy = find_vendor(urlsplit(base_url).hostname or ""), make_network_policy(base_url, networks)
    provider = Provider(OWN, "openai", OWN, base_url, network_policy=policy, vendor=vendor, priced_as=OWN)
    return Endpoint(provider, model, vendor.model_capabilities(model, "chat"))
