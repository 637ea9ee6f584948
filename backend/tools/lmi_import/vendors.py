"""The providers that are known by name, as the shipped table has them, and how litellm speaks of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backend.utils.llm.options import Api


@dataclass(frozen=True)
class Vendor:
    """A provider that is known by name.

    Attributes:
        base_url: Its address as a row says it; None if it is the API's own.
        addresses: Its address as other configurations say it.
    """

    api: Api
    base_url: str | None
    addresses: tuple[str, ...]


_GOOGLE = "https://generativelanguage.googleapis.com"
_PERPLEXITY = "https://api.perplexity.ai"

VENDORS = {
    "anthropic": Vendor("anthropic", None, ("https://api.anthropic.com", "https://api.anthropic.com/v1")),
    "gemini": Vendor("gemini", None, (_GOOGLE, f"{_GOOGLE}/v1", f"{_GOOGLE}/v1beta")),
    "openai": Vendor("openai", None, ("https://api.openai.com", "https://api.openai.com/v1")),
    "openrouter": Vendor("openai", "https://openrouter.ai/api/v1", ("https://openrouter.ai/api/v1",)),
    "perplexity": Vendor("openai", f"{_PERPLEXITY}/v1", (_PERPLEXITY, f"{_PERPLEXITY}/v1")),
}

ELSEWHERE = {
    "azure": "Give the api_base of its OpenAI-compatible address, https://RESOURCE.openai.azure.com/openai/v1.",
    "bedrock": "Give the api_base of its OpenAI-compatible address, or write anthropic/MODEL for Claude.",
    "vertex_ai": "Write gemini/MODEL, which takes the key in GEMINI_API_KEY.",
    "vertex_ai_beta": "Write gemini/MODEL, which takes the key in GEMINI_API_KEY.",
}
"""Providers whose own protocols are not spoken here, and what to do instead."""


def house_variable(vendor: str) -> str:
    """The variable that holds the house's key of ``vendor``."""
    return f"{vendor.upper()}_API_KEY"
