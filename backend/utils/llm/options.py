"""The options of a feature, and the parameter of each API that each option sets.

Each field is an option, with its name in a request of each API. An API without a name for the option does not support it,
and a table that sets it there is refused when loaded, not when a call is made. ``effort`` is an intent: it is mapped to
the nearest level that the model offers, and left out where a model has no such control.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import override

from .models import OTHER, Effort

if TYPE_CHECKING:
    from .models import Capabilities, ModelVendor

Api = Literal["openai", "gemini", "anthropic"]
ApiMode = Literal["chat", "responses", "embeddings"]
MetadataKey = Annotated[str, Field(min_length=1, max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]
Threshold = Literal["off", "none", "only_high", "medium_and_above", "low_and_above"]


@dataclass(frozen=True)
class ApiParameter:
    """How one option is named in the requests of each API; None where the API has no such parameter.

    Attributes:
        chat_only: Whether OpenAI has the option in Chat Completions only, not in Responses.
        ours: Whether Patchbay applies the option itself, such as a timeout, and sends no parameter for it.
        intent: Whether the option is left out, instead of refused, where it is not supported.
        needs: The capability without which a model rejects the option.
        extra_body: Whether the parameter is passed in the client's ``extra_body``.
    """

    openai: str | None = None
    gemini: str | None = None
    anthropic: str | None = None
    chat_only: bool = False
    ours: bool = False
    intent: bool = False
    needs: Literal["temperature", "logprobs", "thinking_budget"] | None = None
    extra_body: bool = False

    def name_in_api(self, api: Api, mode: ApiMode = "chat") -> str | None:
        """The name of the option's parameter in requests of ``api``; None if the API has no such parameter."""
        if mode == "embeddings" or (self.chat_only and mode == "responses"):
            return None
        return {"openai": self.openai, "gemini": self.gemini, "anthropic": self.anthropic}[api]


class SafetyThresholds(BaseModel):
    """Gemini's safety filters: for each kind of harm, the probability from which a text is blocked.

    ``off`` and ``none`` block nothing; with ``off``, Gemini does not even rate the text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    harassment: Threshold = "only_high"
    hate_speech: Threshold = "only_high"
    sexually_explicit: Threshold = "only_high"
    dangerous_content: Threshold = "only_high"

    def with_defaults(self, defaults: SafetyThresholds) -> SafetyThresholds:
        """Return a copy in which each threshold that is not set here is taken from ``defaults``."""
        return defaults.model_copy(update={name: getattr(self, name) for name in self.model_fields_set})

    def to_gemini_settings(self) -> dict[str, str]:
        """Convert the thresholds to the form of Gemini's API: harm category to threshold."""
        return {
            f"HARM_CATEGORY_{kind.upper()}": "OFF" if threshold == "off" else f"BLOCK_{threshold.upper()}"
            for kind, threshold in self
        }


class Options(BaseModel):
    """Settings of requests, such as temperature and timeouts, the same whichever model serves.

    Attributes:
        temperature: Sampling temperature, 0 to 2.
        top_p: Nucleus sampling, above 0 to 1.
        seed: The seed of sampling, for repeatable answers as far as the provider supports that.
        max_output_tokens: The longest answer, in tokens.
        effort: How hard a reasoning model should think.
        thinking_budget: Most tokens of thought, for Gemini 2.5 and Claude up to 4.6; 0 is off, -1 lets the
            model decide.
        safety: The thresholds of Gemini's safety filters.
        logprobs: Whether the answer holds the log probability of each of its tokens.
        top_logprobs: The number of likeliest tokens reported at each position; implies ``logprobs``.
        cache_retention: How long OpenAI keeps a prompt prefix (models before gpt-5.6).
        service_tier: The vendor's name of a level of service, which sets urgency and price.
        verbosity: How long answers are, for models that have such a control.
        user: An opaque id of the end user for the vendor, who must learn nothing else from it.
        metadata: Up to 16 pairs that the vendor, or a gateway, keeps with the request.
        timeout: Seconds for one attempt, from its start to the end of its answer.
        connect_timeout: Seconds for an attempt's connection to be made.
        first_chunk_timeout: Seconds to the first content of a stream, or to the next thought before its
            content.
        chunk_timeout: Seconds from one chunk of a stream to the next.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: Annotated[
        float | None, ApiParameter("temperature", "temperature", "temperature", needs="temperature")
    ] = Field(default=None, ge=0, le=2)
    top_p: Annotated[float | None, ApiParameter("top_p", "top_p", "top_p", needs="temperature")] = Field(
        default=None, gt=0, le=1
    )
    seed: Annotated[int | None, ApiParameter("seed", "seed", chat_only=True)] = None
    max_output_tokens: Annotated[
        int | None, ApiParameter("max_completion_tokens", "max_output_tokens", "max_tokens")
    ] = Field(default=None, gt=0)
    effort: Annotated[Effort | None, ApiParameter("reasoning_effort", "thinking_level", "effort")] = None
    thinking_budget: Annotated[
        int | None, ApiParameter(None, "thinking_budget", "thinking_budget", needs="thinking_budget")
    ] = Field(default=None, ge=-1)
    safety: Annotated[SafetyThresholds, ApiParameter(gemini="safety_settings", intent=True)] = (
        SafetyThresholds()
    )
    logprobs: Annotated[bool | None, ApiParameter("logprobs", "response_logprobs", needs="logprobs")] = None
    top_logprobs: Annotated[int | None, ApiParameter("top_logprobs", "logprobs", needs="logprobs")] = Field(
        default=None, ge=0, le=20
    )
    cache_retention: Annotated[
        Literal["24h"] | None, ApiParameter("prompt_cache_retention", extra_body=True)
    ] = None
    service_tier: Annotated[str | None, ApiParameter("service_tier", anthropic="service_tier")] = Field(
        default=None, pattern=r"^[a-z_]{1,32}$"
    )
    verbosity: Annotated[Literal["low", "medium", "high"] | None, ApiParameter("verbosity")] = None
    user: Annotated[str | None, ApiParameter("user", anthropic="user")] = Field(
        default=None, min_length=1, max_length=64
    )
    metadata: Annotated[dict[MetadataKey, MetadataValue] | None, ApiParameter("metadata")] = Field(
        default=None, max_length=16
    )
    timeout: Annotated[float, ApiParameter(ours=True)] = Field(default=120.0, gt=0, le=3600)
    connect_timeout: Annotated[float, ApiParameter(ours=True)] = Field(default=5.0, gt=0, le=3600)
    first_chunk_timeout: Annotated[float, ApiParameter(ours=True)] = Field(default=60.0, gt=0, le=3600)
    chunk_timeout: Annotated[float, ApiParameter(ours=True)] = Field(default=30.0, gt=0, le=3600)

    @override
    def __hash__(self) -> int:
        """A hash of the options that differ most between features: hashing all of them for each call would be slow."""
        return hash((self.temperature, self.max_output_tokens, self.effort, self.timeout, self.top_p))

    def with_defaults(self, defaults: Options) -> Options:
        """Return a copy in which options and safety thresholds that are not set are taken from ``defaults``."""
        if not (self.model_fields_set and defaults.model_fields_set):
            return self if self.model_fields_set else defaults
        own = {name: getattr(self, name) for name in self.model_fields_set}
        if "safety" in own:
            own["safety"] = self.safety.with_defaults(defaults.safety)
        return defaults.model_copy(update=own)

    def list_unsupported_options(
        self, api: Api, model: str, capabilities: Capabilities, mode: ApiMode = "chat"
    ) -> list[tuple[str, str]]:
        """List the options set here that ``model`` does not support, each with the reason."""
        return [
            (name, reason)
            for name in sorted(self.model_fields_set)
            if self._asks_for(name)
            and (reason := _unsupported(name, api, mode) or self._beyond(name, api, model, capabilities))
        ]

    def _asks_for(self, name: str) -> bool:
        value = getattr(self, name)
        return value is not None and value is not False

    def _beyond(self, name: str, api: Api, model: str, can: Capabilities) -> str | None:
        """Why ``model`` rejects an option that its API has; None if it accepts the option."""
        needs = find_api_parameter(name).needs
        if needs is not None and not getattr(can, needs):
            return f"{model} {_REJECTIONS[needs]}"
        if name in can.lacks:
            return f"{model} does not take it: what serves it ignores or refuses it"
        if name == "temperature" and api == "anthropic" and getattr(self, name) > 1:
            return "the anthropic API takes no temperature above 1"
        if name == "max_output_tokens" and getattr(self, name) > can.max_output:
            return f"{model} answers with at most {can.max_output} tokens"
        return None


NO_OPTIONS = Options()
_REJECTIONS = {
    "temperature": "has fixed sampling and rejects it",
    "logprobs": "does not tell how likely its tokens were",
    "thinking_budget": "decides itself how long it thinks, by `effort`",
}


def _unsupported(option: str, api: Api, mode: ApiMode) -> str | None:
    """Why ``api`` has no parameter for ``option``; None if it has one, or needs none."""
    parameter = find_api_parameter(option)
    if parameter.ours or parameter.intent or parameter.name_in_api(api, mode) is not None:
        return None
    where = {"chat": "", "responses": " in Responses", "embeddings": " for embeddings"}[mode]
    return f"the {api} API has no such option" + (where if parameter.name_in_api(api) is not None else "")


@lru_cache
def find_api_parameter(option: str) -> ApiParameter:
    """Look up the `ApiParameter` of ``option``: its name in each API, and how it is handled."""
    return next(mark for mark in Options.model_fields[option].metadata if isinstance(mark, ApiParameter))


@lru_cache(maxsize=4096)
def make_request_kwargs(
    options: Options,
    api: Api,
    capabilities: Capabilities,
    mode: ApiMode = "chat",
    vendor: ModelVendor = OTHER,
) -> dict[str, Any]:
    """Translate the options that are set into keyword arguments for a request of ``api``.

    Options that the API or the model does not support are left out. The result is cached: copy it before a
    change.
    """
    kwargs: dict[str, Any] = {}
    body: dict[str, Any] = {}
    for name in Options.model_fields:
        parameter = find_api_parameter(name)
        key, value = parameter.name_in_api(api, mode), _value(name, options, capabilities)
        is_taken = name not in capabilities.lacks and (
            parameter.needs is None or getattr(capabilities, parameter.needs)
        )
        if key is not None and value is not None and is_taken:
            renamed = vendor.renamed.get(key) if mode == "chat" else None
            (body if parameter.extra_body or renamed else kwargs)[renamed or key] = value
    return {**kwargs, "extra_body": body} if body else kwargs


def _value(name: str, options: Options, can: Capabilities) -> Any:
    """The value of an option in a request; None to leave the option out."""
    match name:
        case "effort":
            return options.effort and can.nearest_effort(options.effort)
        case "safety":
            return options.safety.to_gemini_settings()
        case "logprobs":
            asked = options.top_logprobs is not None if options.logprobs is None else options.logprobs
            return asked or None
        case "top_logprobs" if options.logprobs is False:
            return None
        case _:
            return getattr(options, name)
