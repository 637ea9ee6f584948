"""The rows of ``llm.toml`` as pydantic models."""

from __future__ import annotations

import re
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from ..models import BY_NAME, ChatTools, Effort, SchemaForm
from ..network_policy import PRIVATE, Network
from ..options import Api, Options
from ..problems import did_you_mean, make_rule_error
from ..rate_limits import NO_LIMITS, Limits
from ..secrets import contains_likely_api_key
from ..state.experiments import STOP, TrialStopConditions
from ..strategies import ORDERED
from .clouds import find_cloud_address_problem
from .extra_body import ExtraBody
from .select import Selection

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
RESERVED_HEADERS = frozenset(
    {
        "api-key",
        "authorization",
        "connection",
        "cookie",
        "host",
        "te",
        "transfer-encoding",
        "upgrade",
        "x-api-key",
        "x-goog-api-key",
        "x-patchbay-ticket",
    }
)
"""Headers that a table may not set, because they authenticate a request or frame its message."""
IDENTITY = re.compile(r"authorization|api-?key|cookie|credential|password|secret|-token$", re.IGNORECASE)
"""Matches the names of other headers that authenticate a request."""


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


LinkNames = Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1)]


class BaseRow(BaseModel):
    """Base class of rows of the table: immutable, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AccountRow(BaseRow):
    """The row of one account, for a provider at which the operator has several keys.

    Attributes:
        limits: The limits of this key, instead of the provider's.
    """

    api_key_env: str = Field(pattern=r"^[A-Z][A-Z0-9_]*$")
    weight: int = Field(default=1, gt=0, le=1000)
    limits: Limits | None = None


class ProviderRow(BaseRow):
    """The row of a provider: its API, its address, its keys and its limits.

    A row with ``api_key_env`` or ``accounts`` is a cloud provider; a row with only a ``base_url`` is a
    server without keys; a row with none of these is a process of this application whose address is known
    only while it runs.

    Attributes:
        vendor: The vendor of the API, if the address does not determine it.
        priced_as: The provider in the price list whose prices apply.
        limits: The limits of each key of the operator's.
        user_limits: The limits of each key that a user brings.
        extra_body: Extra fields in the body of every request to the provider.
    """

    api: Api
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Z][A-Z0-9_]*$")
    accounts: dict[str, AccountRow] = Field(default_factory=dict, min_length=1)
    limits: Limits = NO_LIMITS
    user_limits: Limits = NO_LIMITS
    base_url: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    model_prefixes: dict[str, str] = Field(default_factory=dict)
    vendor: str | None = None
    priced_as: str | None = Field(default=None, pattern=r"^[^:\s]+$")

    extra_body: ExtraBody = Field(default_factory=dict)

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, base_url: str, info: ValidationInfo) -> str:
        parts = urlsplit(base_url)
        if "api" in info.data and (fault := find_cloud_address_problem(info.data["api"], base_url)):
            raise make_rule_error(*fault)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an http or https address")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("must hold no user, password, query or fragment")
        # What is wrong itself is not in the data, but it was written.
        is_keyed = info.data.get("api_key_env", "wrong") or info.data.get("accounts", "wrong")
        if parts.scheme == "http" and is_keyed and parts.hostname not in LOOPBACK:
            raise ValueError("must be https: a key would travel in clear text")
        return base_url

    @field_validator("vendor")
    @classmethod
    def _known_vendor(cls, vendor: str) -> str:
        if vendor not in BY_NAME:
            raise make_rule_error(f"there is no vendor {vendor!r}", did_you_mean(vendor, BY_NAME))
        return vendor

    @field_validator("headers")
    @classmethod
    def _harmless(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if name.lower() in RESERVED_HEADERS or name.lower().startswith(("content-", "proxy-")):
                raise ValueError(f"{name} is not for a table to set")
            if IDENTITY.search(name) or contains_likely_api_key(value):
                raise ValueError(f"{name} would carry a key, and keys stand in variables only")
            if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or not (
                value.isascii() and value.isprintable()
            ):
                raise ValueError(f"{name!r} is not a header, or its value is not plain text")
        return headers


class GroupRow(BaseRow):
    """The row of a group: endpoints, the strategy that chooses one, and the group to try when all of them fail."""

    endpoints: LinkNames
    select: Selection = ORDERED
    then: str | None = None


OnInvalidOutput = Literal["raise", "next", "best"]
Percent = Annotated[float, Field(gt=0, le=100)]


class EmbeddingRow(BaseRow):
    """The settings of an embedding feature. Its model is fixed: vectors of two models cannot be compared.

    Attributes:
        model: The only model that may serve the feature, without its provider.
        dimensions: The length of each vector, for models with a choice; None for the model's default.
    """

    model: str = Field(min_length=1)
    dimensions: int | None = Field(default=None, gt=0, le=65_536)


class FeatureRow(BaseRow):
    """The settings of a feature, the same in every profile, as written in the table.

    Attributes:
        extra_body: Extra fields in the bodies of its requests, by provider.
        embedding: The settings of embeddings; None for a chat feature.
    """

    about: str = ""
    embedding: EmbeddingRow | None = None
    pin: LinkNames | None = None
    select: Selection = ORDERED
    split: dict[str, Percent] = Field(default_factory=dict)
    stop: TrialStopConditions = STOP
    shadow: dict[str, Percent] = Field(default_factory=dict)
    limits: Limits = NO_LIMITS
    structured_output: bool = False
    tools: bool = False
    images: bool = False
    audio: bool = False
    video: bool = False
    pdf: bool = False
    options: Options = Options()
    extra_body: dict[str, ExtraBody] = Field(default_factory=dict)
    deadline: float = Field(default=120.0, gt=0, le=3600)
    wait: float = Field(default=15.0, ge=0, le=3600)
    max_cost_usd: Decimal | None = Field(default=None, gt=0)
    attempts: int = Field(default=3, ge=1, le=10)
    max_attempts: int = Field(default=10, ge=1, le=100)
    on_refusal: Literal["raise", "next"] = "raise"
    on_invalid_output: OnInvalidOutput = "next"
    hedge: bool = False
    house_fallback: bool = False
    keep_text_days: int | None = Field(default=None, ge=1, le=3650)


SETTINGS = ("parallel_tool_calls", "strict")
"""Settings of a call beside its options that an endpoint may not support."""


def _known_lack(name: str) -> str:
    known = {*Options.model_fields, *SETTINGS}
    if name not in known:
        raise make_rule_error(f"there is no option {name!r}", did_you_mean(name, known))
    return name


Lack = Annotated[str, AfterValidator(_known_lack)]
Dollars = Annotated[Decimal, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class TokenPrices(BaseRow):
    """Prices in US dollars per million tokens. Kinds of input tokens without a price cost as much as ``input``."""

    input: Dollars
    output: Dollars
    cache_read: Dollars | None = None
    cache_write: Dollars | None = None


class ModelRow(BaseRow):
    """The settings of one endpoint, whichever feature it serves, as written in the table.

    Capabilities are declared here for models that the built-in list of models lacks or has wrongly.

    Attributes:
        extra_body: Extra fields in the body of every request to the endpoint.
        price: The endpoint's price, instead of that of the price list.
        priced_as: The provider and the model in the price list whose price applies.
    """

    api_mode: Literal["chat", "responses"] = "chat"
    attempts: int | None = Field(default=None, ge=1, le=10)
    limits: Limits = NO_LIMITS
    options: Options = Options()
    extra_body: ExtraBody = Field(default_factory=dict)
    price: TokenPrices | None = None
    priced_as: str | None = Field(default=None, pattern=r"^[^:\s]+:\S+$")
    context_window: int | None = Field(default=None, gt=0)
    max_input: int | None = Field(default=None, gt=0)
    max_output: int | None = Field(default=None, gt=0)
    tools: bool | None = None
    chat_tools: ChatTools | None = None
    structured_output: bool | None = None
    schema_form: SchemaForm | None = None
    images: bool | None = None
    audio: bool | None = None
    video: bool | None = None
    pdf: bool | None = None
    temperature: bool | None = None
    cache_key: bool | None = None
    thinking_budget: bool | None = None
    logprobs: bool | None = None
    efforts: tuple[Effort, ...] | None = None
    strict_turns: bool | None = None
    short_call_ids: bool | None = None
    wants_thoughts: bool | None = None
    lacks: tuple[Lack, ...] | None = None


class ProfileRow(BaseModel):
    """The row of a quality-of-service profile: each feature's chain, and the profile that it inherits from.

    Attributes:
        step_down_to: The cheaper profile that serves calls once a budget is used up to its ``step_down_at``.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, LinkNames] = Field(init=False)  # pyright: ignore - as pydantic documents it

    extends: str | None = None
    then: str | None = None
    step_down_to: str | None = None

    @property
    def chains(self) -> dict[str, tuple[str, ...]]:
        """The chains written in this profile, by feature, without those that it inherits."""
        return dict(self.__pydantic_extra__ or {})


class TopLevelRow(BaseRow):
    """The settings of the whole table, which stand at the top of the file, before the first section."""

    profile: str = "premium"
    byok_profile: str | None = None
    demo: str | None = None
    private_networks: tuple[Network, ...] = ()
    state_url: str | None = None

    @field_validator("private_networks")
    @classmethod
    def _inside(cls, networks: tuple[Network, ...]) -> tuple[Network, ...]:
        for network in networks:
            if not any(_is_within(network, private) for private in PRIVATE):
                raise ValueError(
                    "must be private networks: what is public is open anyway, and the rest never is"
                )
        return networks


def _is_within(network: Network, other: Network) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(other, IPv4Network) and network.subnet_of(other)
    return isinstance(other, IPv6Network) and network.subnet_of(other)
