"""What the models can do, and until when.

One dated table of ours, by family: the longest name that a model's name starts with decides. Figures are from the
vendors' model pages as LangChain's model profiles state them; retirement dates from the vendors' deprecation pages.
Both were checked on 2026-11-21. A model that the table does not know gets `UNKNOWN`, which promises little; the table
of features may declare more for it (``[models."provider:model"]``).
"""

from __future__ import annotations

from datetime import date
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)


class Capabilities(BaseModel):
    """What one model can do.

    Attributes:
        context_window: Prompt and answer together, in tokens.
        max_output: The longest answer, in tokens.
        tools: Whether it calls tools.
        structured_output: Whether it can be held to a JSON schema.
        images: Whether it reads images.
        temperature: Whether it accepts a temperature and other sampling settings.
        logprobs: Whether it tells how likely its tokens were.
        cache_key: Whether a request may name a prompt cache key.
        efforts: The reasoning efforts that it offers; empty if it has no such control.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    context_window: int = Field(default=128_000, gt=0)
    max_output: int = Field(default=16_384, gt=0)
    tools: bool = True
    structured_output: bool = True
    images: bool = False
    temperature: bool = True
    logprobs: bool = False
    cache_key: bool = False
    efforts: tuple[Effort, ...] = ()

    def nearest_effort(self, intent: Effort) -> Effort | None:
        """The model's own effort that is closest to ``intent``; None if it has no such control."""
        rank = EFFORTS.index
        return min(self.efforts, key=lambda own: (abs(rank(own) - rank(intent)), rank(own)), default=None)


class Retirement(BaseModel):
    """The day on which a vendor stops serving a model, and what it names instead."""

    model_config = ConfigDict(frozen=True)

    day: date
    replacement: str | None = None


UNKNOWN = Capabilities()
LACKS = {
    "tools": "cannot call tools",
    "structured_output": "cannot be held to a schema",
    "images": "cannot read images",
}
"""What is said of a model without an ability."""
_GPT6 = Capabilities(
    context_window=1_050_000,
    max_output=128_000,
    images=True,
    temperature=False,
    cache_key=True,
    efforts=("none", "low", "medium", "high", "xhigh", "max"),
)
_GPT54 = Capabilities(
    context_window=1_050_000,
    max_output=128_000,
    images=True,
    cache_key=True,
    efforts=("none", "low", "medium", "high", "xhigh"),
)
_GEMINI = Capabilities(context_window=1_048_576, max_output=65_536, images=True)
_GEMINI_EFFORTS: tuple[Effort, ...] = ("minimal", "low", "medium", "high")
_CLAUDE5 = Capabilities(context_window=200_000, max_output=64_000, images=True, temperature=False)

FAMILIES: dict[str, Capabilities] = {
    "claude-": Capabilities(context_window=200_000, max_output=64_000, images=True),
    "claude-fable-5": _CLAUDE5,
    "claude-haiku-5": _CLAUDE5,
    "claude-opus-5": _CLAUDE5,
    "claude-sonnet-5": _CLAUDE5,
    "gemini-2.5": _GEMINI,
    "gemini-3": _GEMINI.model_copy(update={"efforts": _GEMINI_EFFORTS}),
    # LangChain's adapter drops sampling settings for these two, with a warning: they have fixed sampling.
    "gemini-3.5-flash-lite": _GEMINI.model_copy(update={"efforts": _GEMINI_EFFORTS, "temperature": False}),
    "gemini-3.6-flash": _GEMINI.model_copy(update={"efforts": _GEMINI_EFFORTS, "temperature": False}),
    "gemini-3.8-flash": _GEMINI,
    "gemini-4-argon": _GEMINI.model_copy(update={"temperature": False, "efforts": ("low", "medium", "high")}),
    # Reasoning models of OpenAI tell no logprobs, or only without effort; of Gemini's it depends on the account.
    "gpt-4.1": Capabilities(
        context_window=1_047_576, max_output=32_768, images=True, logprobs=True, cache_key=True
    ),
    "gpt-4o": Capabilities(
        context_window=128_000, max_output=16_384, images=True, logprobs=True, cache_key=True
    ),
    "gpt-5.1": _GPT54.model_copy(
        update={"context_window": 400_000, "efforts": ("none", "low", "medium", "high")}
    ),
    "gpt-5.4": _GPT54,
    "gpt-5.4-mini": _GPT54.model_copy(update={"context_window": 400_000}),
    "gpt-5.4-nano": _GPT54.model_copy(update={"context_window": 400_000}),
    "gpt-5.5": _GPT6,
    "gpt-5.6": _GPT6,
    "gpt-6": _GPT6,
    "gpt-6-astra": _GPT6.model_copy(update={"efforts": ("low", "medium", "high", "xhigh", "max")}),
    # The profiles list no levels for the 6.1 models: only those that every sibling has.
    "gpt-6.1": _GPT6.model_copy(update={"efforts": ("low", "medium", "high")}),
    "smollm2-135m": Capabilities(context_window=4_096, max_output=512, tools=False),
    "sonar": Capabilities(context_window=128_000, max_output=8_000, tools=False),
}

RETIREMENTS: dict[str, Retirement] = {
    model: Retirement(day=day, replacement=replacement)
    for day, replacement, models in (
        (
            date(2026, 10, 23),
            "gpt-6-luna",
            "gpt-3.5-turbo gpt-4 gpt-4-turbo gpt-4.1-nano gpt-4o-2024-05-13 o1 o1-pro o3-mini o4-mini",
        ),
        (date(2026, 12, 1), "gemini-3.8-flash", "gemini-2.5-pro"),
        (date(2026, 12, 1), "gemini-3.5-flash-lite", "gemini-2.5-flash"),
        (date(2026, 12, 11), "gpt-6.1-sol", "gpt-5 gpt-5-pro o3 o3-pro"),
        (date(2026, 12, 11), "gpt-6-luna", "gpt-5-mini gpt-5-nano"),
        (date(2027, 1, 14), "gpt-6-luna", "gpt-4o gpt-4o-mini gpt-4.1 gpt-4.1-mini"),
        (date(2027, 4, 1), None, "gpt-5.1"),
    )
    for model in models.split()
}


def capabilities(model: str) -> Capabilities:
    """What ``model`` can do, by the longest family name that it starts with; `UNKNOWN` for a stranger."""
    name = model.rpartition("/")[2]
    family = max((known for known in FAMILIES if name.startswith(known)), key=len, default=None)
    return FAMILIES[family] if family else UNKNOWN


def retirement(model: str) -> Retirement | None:
    """When ``model`` goes off sale, if a date is published."""
    return RETIREMENTS.get(model.rpartition("/")[2])
