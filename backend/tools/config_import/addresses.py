"""Translates LiteLLM's server addresses into base URLs.

LiteLLM adds paths of its own to some addresses, and speaks protocols that are not spoken here to others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    from backend.utils.llm.options import Api

AZURE_HOSTS = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")
_VERSIONED = "/v1"


class TranslatedServerAddress(NamedTuple):
    """The API and the base URL of a server.

    Attributes:
        note: A sentence on how the base URL differs from the address in the input; empty if it is the same.
        refusal: Why the address cannot be used; empty if it can.
    """

    api: Api
    base_url: str
    note: str = ""
    refusal: str = ""


def translate_server_address(provider: str, model: str, address: str) -> TranslatedServerAddress:
    """Translate a server's address from LiteLLM's configuration into an API and a base URL.

    The result says if the address was changed (``note``), or why it cannot be used (``refusal``).

    Args:
        provider: LiteLLM's name of the provider.
        model: The model that is called at the address.
        address: The address as LiteLLM's configuration has it.
    """
    if provider in {"azure", "azure_ai"}:
        return _azure(model, address)
    if provider in {"bedrock", "bedrock_converse"}:
        return _bedrock(address)
    if provider in {"vertex_ai", "vertex_ai_beta"}:
        return _vertex(address)
    if provider in {"ollama", "ollama_chat", "huggingface"}:
        return _below_v1(address)
    if provider in _SERVED_AT_V1 and not split_url(address).path.strip("/"):
        return _below_v1(address)
    return TranslatedServerAddress(_API.get(provider, "openai"), address)


_SERVED_AT_V1 = frozenset({"hosted_vllm", "llamafile", "lm_studio", "vllm"})
"""Servers that answer at no other path, unless something stands before them."""
_API: dict[str, Api] = {"anthropic": "anthropic", "gemini": "gemini"}


def _azure(model: str, written: str) -> TranslatedServerAddress:
    parts = split_url(written)
    host, path = parts.hostname or "", parts.path.rstrip("/")
    if host.endswith(AZURE_HOSTS):
        claude = model.startswith("claude") and host.endswith(".services.ai.azure.com")
        api: Api = "anthropic" if claude else "openai"
        asked = f"https://{host}{'/anthropic' if claude else '/openai/v1'}"
        note = f"the same resource is asked at {asked}, which takes no api-version; {model} has to be a deployment there."
        return TranslatedServerAddress(api, asked, "" if written.rstrip("/") == asked else note)
    if path.endswith("/openai/v1"):
        return TranslatedServerAddress("openai", written)
    return TranslatedServerAddress(
        "openai",
        written,
        refusal="is no resource of Azure's, and Azure's API with an api-version is not spoken here. If it hands "
        "on Azure's v1 API, write the address that ends in /openai/v1",
    )


def _bedrock(written: str) -> TranslatedServerAddress:
    if split_url(written).path.rstrip("/").endswith("/openai/v1"):
        return TranslatedServerAddress("openai", written)
    return TranslatedServerAddress(
        "openai", written, refusal=f"signs requests for AWS, which is not done here. {BEDROCK}"
    )


def _vertex(written: str) -> TranslatedServerAddress:
    if "/publishers/google" in split_url(written).path:
        return TranslatedServerAddress("gemini", written)
    return TranslatedServerAddress("gemini", written, refusal=f"wants tokens of Google's OAuth. {VERTEX}")


def _below_v1(written: str) -> TranslatedServerAddress:
    path = split_url(written).path.rstrip("/")
    if path.endswith(_VERSIONED):
        return TranslatedServerAddress("openai", written)
    if path:
        return TranslatedServerAddress(
            "openai", written, refusal="must end in /v1, where the server speaks OpenAI's Chat Completions"
        )
    asked = f"{written.rstrip('/')}{_VERSIONED}"
    return TranslatedServerAddress(
        "openai", asked, f"is asked at {asked}, where it speaks OpenAI's Chat Completions."
    )


def split_url(address: str) -> SplitResult:
    """Split ``address`` like `urllib.parse.urlsplit`, but return empty parts for an invalid address instead of raising."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


BEDROCK = (
    "Write the api_base of its OpenAI-compatible address, https://bedrock-runtime.REGION.amazonaws.com/openai/v1, "
    "with an API key of Bedrock's; or anthropic/MODEL for Claude"
)
VERTEX = (
    "Write gemini/MODEL with the key in GEMINI_API_KEY, or the api_base "
    "https://aiplatform.googleapis.com/v1/publishers/google with an API key of Vertex AI's"
)
