"""The table of models by family. A model's family is the longest one that equals its name, or its name up to a dash."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .abilities import UNKNOWN, Capabilities
from .names import normalize_model_name
from .sources import (
    ANTHROPIC_PAGES,
    ANTHROPIC_PROFILE,
    ASSUMED,
    DECLARED,
    GOOGLE_PAGES,
    GOOGLE_PROFILE,
    OPENAI_INPUT,
    OPENAI_PAGES,
    OPENAI_PROFILE,
    OURS,
    PERPLEXITY_PAGES,
    PRICE_LIST,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

OTHER_KINDS = frozenset(
    {
        *("audio", "chat", "codex", "computer", "cyber", "embedding", "image", "live", "pro", "realtime"),
        *("reasoning", "research", "search", "transcribe", "translate", "tts"),
    }
)
"""Suffixes of models of another kind than their family, whose capabilities are therefore unknown."""


@dataclass(frozen=True)
class _Family:
    """Families of models with the same capabilities.

    Attributes:
        names: The families, separated by spaces.
        source: The source of all values that ``other_sources`` does not name.
        other_sources: The sources of the other values, by name.
    """

    names: str
    can: Capabilities
    source: str
    other_sources: Mapping[str, str] = field(default_factory=dict)


def _with(can: Capabilities, **values: object) -> Capabilities:
    """A copy of ``can`` with ``values`` changed."""
    return Capabilities.model_validate({**can.model_dump(), **values})


# OpenAI. Reasoning models tell no logprobs, or only without effort. GPT-6.1 Sol also has `max`, but in Responses only.
_GPT4 = Capabilities(
    context_window=1_047_576,
    max_output=32_768,
    images=True,
    pdf=True,
    logprobs=True,
    cache_key=True,
    lacks=("verbosity",),
)
_GPT5 = Capabilities(
    context_window=400_000,
    max_input=272_000,
    max_output=128_000,
    images=True,
    pdf=True,
    cache_key=True,
    efforts=("none", "low", "medium", "high", "xhigh"),
)
_GPT54 = _with(_GPT5, chat_tools="unless_effort")
_GPT6 = Capabilities(
    context_window=1_050_000,
    max_input=922_000,
    max_output=128_000,
    chat_tools="only_none",
    images=True,
    pdf=True,
    temperature=False,
    cache_key=True,
    efforts=("none", "low", "medium", "high", "xhigh", "max"),
)
_NO_CHAT_TOOLS = _with(_GPT6, chat_tools="never")
_BY_OPENAI: dict[str, str] = dict.fromkeys(("cache_key", "chat_tools", "lacks", "logprobs"), OPENAI_PAGES)
_WINDOW = {**_BY_OPENAI, "context_window": PRICE_LIST}
_INPUT = {**_BY_OPENAI, "max_input": OPENAI_INPUT}

# Google. Whether they tell logprobs depends on the account. From 3.5 Flash-Lite and 3.6 Flash on, sampling is fixed.
_GEMINI = Capabilities(
    context_window=1_048_576, max_output=65_536, images=True, audio=True, video=True, pdf=True
)
_GEMINI3 = _with(_GEMINI, efforts=("minimal", "low", "medium", "high"))
_GEMINI3_FIXED = _with(_GEMINI3, temperature=False)
_GEMINI4 = _with(_GEMINI, temperature=False, efforts=("low", "medium", "high"))
_BY_GOOGLE: dict[str, str] = dict.fromkeys(("cache_key", "chat_tools", "logprobs"), GOOGLE_PAGES)
_SAMPLING = {**_BY_GOOGLE, "temperature": GOOGLE_PAGES}

# Anthropic. Its OpenAI-compatible endpoint takes neither an effort nor a budget, and leaves out what it does not take.
_CLAUDE4 = Capabilities(context_window=200_000, max_output=64_000, images=True, pdf=True)
_CLAUDE46 = Capabilities(
    context_window=1_000_000,
    max_output=128_000,
    images=True,
    pdf=True,
    efforts=("low", "medium", "high", "max"),
)
_CLAUDE5 = _with(
    _CLAUDE46,
    temperature=False,
    thinking_budget=False,
    efforts=("low", "medium", "high", "xhigh", "max"),
)
_LISTED = {"context_window": PRICE_LIST}
_BY_ANTHROPIC = {
    **_LISTED,
    **dict.fromkeys(
        ("cache_key", "chat_tools", "logprobs", "schema_form", "structured_output", "thinking_budget"),
        ANTHROPIC_PAGES,
    ),
}

_FAMILIES = (
    _Family("gpt-4o", _with(_GPT4, context_window=128_000, max_output=16_384), OPENAI_PROFILE, _BY_OPENAI),
    _Family("gpt-4.1", _GPT4, OPENAI_PROFILE, _BY_OPENAI),
    _Family(
        "gpt-5",
        _with(_GPT5, temperature=False, efforts=("minimal", "low", "medium", "high")),
        OPENAI_PROFILE,
        _WINDOW,
    ),
    _Family("gpt-5.1", _with(_GPT5, efforts=("none", "low", "medium", "high")), OPENAI_PROFILE, _WINDOW),
    _Family("gpt-5.2", _GPT5, OPENAI_PROFILE, _WINDOW),
    _Family("gpt-5.4", _with(_GPT54, context_window=1_050_000, max_input=922_000), OPENAI_PROFILE, _INPUT),
    _Family("gpt-5.4-mini gpt-5.4-nano", _GPT54, OPENAI_PROFILE, _INPUT),
    _Family(
        "gpt-5.5", _with(_GPT6, efforts=("none", "low", "medium", "high", "xhigh")), OPENAI_PROFILE, _INPUT
    ),
    _Family("gpt-5.6 gpt-6-luna gpt-6-sol", _GPT6, OPENAI_PROFILE, _INPUT),
    _Family(
        "gpt-6-astra",
        _with(_NO_CHAT_TOOLS, efforts=("low", "medium", "high", "xhigh", "max")),
        OPENAI_PROFILE,
        _INPUT,
    ),
    _Family(
        "gpt-6.1-sol",
        _with(_NO_CHAT_TOOLS, efforts=("low", "medium", "high", "xhigh")),
        OPENAI_PROFILE,
        {**_INPUT, "efforts": OPENAI_PAGES},
    ),
    _Family("gpt-6.1-terra", _NO_CHAT_TOOLS, OPENAI_PROFILE, {**_INPUT, "efforts": OPENAI_PAGES}),
    _Family("gemini-2.5-flash gemini-2.5-pro", _GEMINI, GOOGLE_PROFILE, _BY_GOOGLE),
    _Family("gemini-3-flash gemini-3.1-flash-lite gemini-3.5-flash", _GEMINI3, GOOGLE_PROFILE, _BY_GOOGLE),
    _Family("gemini-3.1-pro", _with(_GEMINI, efforts=("low", "medium", "high")), GOOGLE_PROFILE, _BY_GOOGLE),
    _Family("gemini-3.5-flash-lite gemini-3.6-flash", _GEMINI3_FIXED, GOOGLE_PROFILE, _SAMPLING),
    _Family(
        "gemini-3.7-flash gemini-3.8-flash", _GEMINI4, GOOGLE_PROFILE, {**_SAMPLING, "efforts": GOOGLE_PAGES}
    ),
    _Family("gemini-4-argon", _with(_GEMINI4, max_output=32_768), GOOGLE_PROFILE, _SAMPLING),
    _Family("claude-haiku-4-5 claude-sonnet-4-5", _CLAUDE4, ANTHROPIC_PROFILE, _BY_ANTHROPIC),
    _Family(
        "claude-opus-4-5",
        _with(_CLAUDE4, efforts=("low", "medium", "high")),
        ANTHROPIC_PROFILE,
        _BY_ANTHROPIC,
    ),
    _Family("claude-opus-4-6 claude-sonnet-4-6", _CLAUDE46, ANTHROPIC_PROFILE, _BY_ANTHROPIC),
    _Family(
        "claude-opus-4-7 claude-opus-4-8 claude-fable-5 claude-opus-5 claude-sonnet-5",
        _CLAUDE5,
        ANTHROPIC_PROFILE,
        _BY_ANTHROPIC,
    ),
    _Family(
        "claude-haiku-5-5",
        _CLAUDE5,
        ANTHROPIC_PROFILE,
        {**_BY_ANTHROPIC, "efforts": ANTHROPIC_PAGES},
    ),
    _Family(
        "sonar",
        Capabilities(context_window=128_000, max_output=8_000, tools=False, strict_turns=True),
        PERPLEXITY_PAGES,
        _LISTED,
    ),
    _Family(
        "sonar-pro",
        Capabilities(context_window=200_000, max_output=8_000, tools=False, strict_turns=True),
        PERPLEXITY_PAGES,
        _LISTED,
    ),
    _Family("smollm2-135m", Capabilities(context_window=4_096, max_output=512, tools=False), OURS),
)

FAMILIES: dict[str, Capabilities] = {
    name: family.can for family in _FAMILIES for name in family.names.split()
}
_SOURCES = {
    name: {value: family.other_sources.get(value, family.source) for value in Capabilities.model_fields}
    for family in _FAMILIES
    for name in family.names.split()
}


_REQUIREMENTS = {
    **dict.fromkeys(
        ("codestral", "devstral", "magistral", "ministral", "mistral", "mixtral", "open-mistral", "pixtral"),
        _with(UNKNOWN, strict_turns=True, short_call_ids=True),
    ),
    **dict.fromkeys(("deepseek", "kimi"), _with(UNKNOWN, wants_thoughts=True)),
}
"""What models of unknown families require of a request, by the start of their names. The errors that they answer otherwise:
https://github.com/avante-corp/avante.nvim/pull/2695, https://github.com/karthink/gptel/issues/1203,
https://api-docs.deepseek.com/guides/thinking_mode#tool-calls, https://github.com/continuedev/continue/issues/11600."""


def find_capabilities(model: str) -> Capabilities:
    """Find the capabilities of ``model``.

    A model of an unknown family gets `UNKNOWN`, changed by its vendor's known requirements.
    """
    family = _family(model)
    if family:
        return FAMILIES[family]
    return next(
        (can for begin, can in _REQUIREMENTS.items() if normalize_model_name(model).startswith(begin)),
        UNKNOWN,
    )


def is_known_model(model: str) -> bool:
    """Whether ``model`` belongs to a family in our list of models, so that its capabilities are not assumed."""
    return _family(model) is not None


def capability_sources(model: str, endpoint_capabilities: Capabilities | None = None) -> dict[str, str]:
    """Map the name of each capability of ``model`` to the source of its value, such as a vendor's page.

    Args:
        model: The model.
        endpoint_capabilities: The capabilities of an endpoint of the model. The source of a value that
            differs from our list of models is the table.
    """
    known = find_capabilities(model)
    given = _SOURCES.get(_family(model) or "", dict.fromkeys(Capabilities.model_fields, ASSUMED))
    own = known if endpoint_capabilities is None else endpoint_capabilities
    return {
        value: source if getattr(own, value) == getattr(known, value) else DECLARED
        for value, source in given.items()
    }


def _family(model: str) -> str | None:
    name = normalize_model_name(model)
    fitting = (known for known in FAMILIES if name == known or name.startswith(f"{known}-"))
    family = max(fitting, key=len, default=None)
    if family is None or OTHER_KINDS & set(name.removeprefix(family).split("-")):
        return None
    return family
