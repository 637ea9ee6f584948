"""What can be set for a feature, and what each setting is called on each wire.

One field is one option. Beside each field stands its name in a request of each API; an API without a name for it does
not support it, and a table that sets it there is refused when it is loaded, never on the wire. ``effort`` is an
intent: it is mapped to the nearest level that the model offers, and left out where a model has no such control.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .catalogue import Effort

if TYPE_CHECKING:
    from .catalogue import Capabilities

Api = Literal["openai", "gemini"]
ApiMode = Literal["chat", "responses"]


@dataclass(frozen=True)
class Wire:
    """An option's name in each API's request; None where the API has no such option.

    Attributes:
        ours: It is no part of the request: we keep to it ourselves, whichever API serves.
    """

    openai: str | None = None
    gemini: str | None = None
    ours: bool = False
    sampling: bool = False
    extra_body: bool = False

    def name(self, api: Api) -> str | None:
        """The option's name on the wire of ``api``."""
        return self.openai if api == "openai" else self.gemini


class Options(BaseModel):
    """Settings of a feature, the same whichever model serves it.

    Attributes:
        temperature: Sampling temperature, 0 to 2.
        top_p: Nucleus sampling, above 0 to 1.
        seed: For answers that repeat, as far as the provider keeps that promise.
        max_output_tokens: The longest answer, in tokens.
        effort: How hard a reasoning model should think.
        thinking_budget: Tokens of thought for Gemini 2.5; 0 is off, -1 lets the model decide.
        cache_retention: How long OpenAI keeps a prompt prefix (models before gpt-5.6).
        timeout: Seconds for one attempt, from its start to the end of its answer.
        connect_timeout: Seconds for its connection to be made.
        first_chunk_timeout: Seconds to the first content of a stream.
        chunk_timeout: Seconds from one chunk of a stream to the next.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: Annotated[float | None, Wire("temperature", "temperature", sampling=True)] = Field(
        None, ge=0, le=2
    )
    top_p: Annotated[float | None, Wire("top_p", "top_p", sampling=True)] = Field(None, gt=0, le=1)
    seed: Annotated[int | None, Wire("seed", "seed")] = None
    max_output_tokens: Annotated[int | None, Wire("max_completion_tokens", "max_output_tokens")] = Field(
        None, gt=0
    )
    effort: Annotated[Effort | None, Wire("reasoning_effort", "thinking_level")] = None
    thinking_budget: Annotated[int | None, Wire(gemini="thinking_budget")] = Field(None, ge=-1)
    cache_retention: Annotated[Literal["24h"] | None, Wire("prompt_cache_retention", extra_body=True)] = None
    timeout: Annotated[float, Wire("timeout", "timeout")] = Field(120.0, gt=0, le=3600)
    connect_timeout: Annotated[float, Wire(ours=True)] = Field(5.0, gt=0, le=3600)
    first_chunk_timeout: Annotated[float, Wire(ours=True)] = Field(60.0, gt=0, le=3600)
    chunk_timeout: Annotated[float, Wire(ours=True)] = Field(30.0, gt=0, le=3600)

    def over(self, below: Options) -> Options:
        """These options laid over ``below``: what is set here wins."""
        return below.model_copy(update={name: getattr(self, name) for name in self.model_fields_set})

    def problems(self, api: Api, model: str, can: Capabilities) -> list[tuple[str, str]]:
        """What of these options ``model`` cannot take: (option, reason), one for each."""
        return [
            (name, reason)
            for name in sorted(self.model_fields_set)
            if (reason := self._refusal(name, api, model, can))
        ]

    def _refusal(self, name: str, api: Api, model: str, can: Capabilities) -> str | None:
        value = getattr(self, name)
        wire = wire_of(name)
        if value is None:
            return None
        if wire.name(api) is None and not wire.ours:
            return f"the {api} API has no such option"
        if wire.sampling and not can.temperature:
            return f"{model} has fixed sampling and rejects it"
        if name == "max_output_tokens" and value > can.max_output:
            return f"{model} answers with at most {can.max_output} tokens"
        return None


@lru_cache
def wire_of(option: str) -> Wire:
    """How ``option`` travels."""
    return next(mark for mark in Options.model_fields[option].metadata if isinstance(mark, Wire))


@lru_cache(maxsize=4096)
def request_kwargs(options: Options, api: Api, can: Capabilities) -> dict[str, Any]:
    """The options as keyword arguments of one request of ``api``. Shared: copy before changing it."""
    kwargs: dict[str, Any] = {}
    body: dict[str, Any] = {}
    for name in Options.model_fields:
        wire = wire_of(name)
        key = wire.name(api)
        value = (
            can.nearest_effort(options.effort)
            if name == "effort" and options.effort
            else getattr(options, name)
        )
        if key is not None and value is not None:
            (body if wire.extra_body else kwargs)[key] = value
    return {**kwargs, "extra_body": body} if body else kwargs
