"""The providers that are known by the names that LiteLLM and other systems give them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.tools.config_import.addresses import BEDROCK, VERTEX

if TYPE_CHECKING:
    from backend.utils.llm.options import Api


@dataclass(frozen=True)
class Vendor:
    """What is known about a provider that configurations of other systems refer to by name.

    Attributes:
        api: The API that the provider's servers have.
        base_url: The base URL for the provider's row; None for the API's default, or if each server has its
            own.
        addresses: The provider's addresses in configurations of other systems.
        variable: The environment variable of the operator's key; None if it is made of the provider's name.
        keyless: Whether its servers usually need no key.
        anywhere: Whether it has no fixed address, because users run the servers themselves.
    """

    api: Api
    base_url: str | None = None
    addresses: tuple[str, ...] = ()
    variable: str | None = None
    keyless: bool = False
    anywhere: bool = False


_GOOGLE = "https://generativelanguage.googleapis.com"
_PERPLEXITY = "https://api.perplexity.ai"

VENDORS = {
    "anthropic": Vendor("anthropic", None, ("https://api.anthropic.com", "https://api.anthropic.com/v1")),
    "gemini": Vendor("gemini", None, (_GOOGLE, f"{_GOOGLE}/v1", f"{_GOOGLE}/v1beta")),
    "openai": Vendor("openai", None, ("https://api.openai.com", "https://api.openai.com/v1")),
    "openrouter": Vendor("openai", "https://openrouter.ai/api/v1", ("https://openrouter.ai/api/v1",)),
    "perplexity": Vendor("openai", f"{_PERPLEXITY}/v1", (_PERPLEXITY, f"{_PERPLEXITY}/v1")),
}
"""The vendors of the shipped table."""


def _speaks_openai(base_url: str, *more: str, variable: str | None = None) -> Vendor:
    return Vendor("openai", base_url, (base_url, *more), variable)


_SERVER = Vendor("openai", anywhere=True)

OTHERS = {
    "azure": _SERVER,
    "azure_ai": _SERVER,
    "cerebras": _speaks_openai("https://api.cerebras.ai/v1"),
    "custom_openai": _SERVER,
    "deepinfra": _speaks_openai("https://api.deepinfra.com/v1/openai"),
    "deepseek": _speaks_openai(
        "https://api.deepseek.com/v1", "https://api.deepseek.com", "https://api.deepseek.com/beta"
    ),
    "fireworks_ai": _speaks_openai("https://api.fireworks.ai/inference/v1", variable="FIREWORKS_API_KEY"),
    "groq": _speaks_openai("https://api.groq.com/openai/v1", "https://api.groq.com"),
    "hosted_vllm": _SERVER,
    "huggingface": _SERVER,
    "litellm_proxy": _SERVER,
    "llamafile": Vendor("openai", "http://127.0.0.1:8080/v1", keyless=True),
    "lm_studio": _SERVER,
    "mistral": _speaks_openai("https://api.mistral.ai/v1"),
    "moonshot": _speaks_openai("https://api.moonshot.ai/v1"),
    "nvidia_nim": _speaks_openai("https://integrate.api.nvidia.com/v1"),
    "ollama": Vendor("openai", "http://localhost:11434/v1", keyless=True),
    "ollama_chat": Vendor("openai", "http://localhost:11434/v1", keyless=True),
    "openai_like": _SERVER,
    "sambanova": _speaks_openai("https://api.sambanova.ai/v1"),
    "together_ai": _speaks_openai("https://api.together.xyz/v1", variable="TOGETHER_API_KEY"),
    "vllm": _SERVER,
    "xai": _speaks_openai("https://api.x.ai/v1"),
    "zai": _speaks_openai("https://api.z.ai/api/paas/v4"),
}
"""Those that LiteLLM speaks OpenAI's Chat Completions to, or that can be asked so."""

KNOWN = {**VENDORS, **OTHERS}

_ANYONES = {"custom_openai", "openai", "openai_like"}
"""Names under which any server is asked that speaks OpenAI's protocol."""
_CLAUDE = "For Claude write anthropic/MODEL, openrouter/anthropic/MODEL, or azure_ai/MODEL with its api_base"

ELSEWHERE = {
    "azure": "Give the api_base of the resource, such as https://RESOURCE.openai.azure.com/openai/v1.",
    "azure_ai": "Give the api_base of the resource, such as https://RESOURCE.services.ai.azure.com/openai/v1.",
    "bedrock": f"Bedrock's requests are signed for AWS. {BEDROCK}.",
    "bedrock_converse": f"Bedrock's requests are signed for AWS. {BEDROCK}.",
    "cohere": "Cohere's own protocol is not spoken here. Write the api_base https://api.cohere.ai/compatibility/v1 and openai/MODEL.",
    "cohere_chat": "Cohere's own protocol is not spoken here. Write the api_base https://api.cohere.ai/compatibility/v1 and openai/MODEL.",
    "sagemaker": "SageMaker's requests are signed for AWS. Put a server in front that speaks OpenAI's Chat Completions.",
    "sagemaker_chat": "SageMaker's requests are signed for AWS. Put a server in front that speaks OpenAI's Chat Completions.",
    "text-completion-openai": "The Completions API is not spoken here. Write openai/MODEL with a chat model.",
    "vertex_ai": f"Vertex AI wants tokens of Google's OAuth. {VERTEX}.",
    "vertex_ai_beta": f"Vertex AI wants tokens of Google's OAuth. {VERTEX}.",
}
"""Providers whose own protocols are not spoken here, and what to do instead."""


def advice_for_provider(provider: str, model: str) -> str:
    """Get the advice for the report on what to do about a ``provider`` that cannot be called as it is configured."""
    if provider in {"vertex_ai", "vertex_ai_beta"} and model.startswith("claude"):
        return f"Claude on Vertex AI has an address for each method, and wants tokens of Google's OAuth. {_CLAUDE}."
    if provider in ELSEWHERE:
        return ELSEWHERE[provider]
    if provider in OTHERS:
        return "Give its api_base."
    return "If it speaks OpenAI's Chat Completions, give its api_base and write openai/MODEL."


def find_vendor_by_address(provider: str, address: str | None) -> str:
    """Find the vendor to which ``address`` belongs, if ``provider`` is a name for any server with OpenAI's API.

    Returns ``provider`` itself if it names one vendor, or if no known vendor has the address.
    """
    if provider not in _ANYONES or address is None:
        return provider
    asked = address.rstrip("/")
    return next((name for name, known in KNOWN.items() if asked in known.addresses), provider)


def house_key_variable(vendor: str) -> str:
    """Get the name of the environment variable that holds the operator's key for ``vendor``."""
    known = KNOWN.get(vendor)
    return (known and known.variable) or f"{vendor.upper()}_API_KEY"
