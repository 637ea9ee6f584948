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


class Address(NamedTuple):
    """The base URL and the API of a server.

    Attributes:
        note: What was changed in the address, as a sentence; empty if nothing was.
        refusal: Why the address cannot be used; empty if it can.
    """

    api: Api
    base_url: str
    note: str = ""
    refusal: str = ""


def translated_address(provider: str, model: str, written: str) -> Address:
    """Translate the address of ``model`` in LiteLLM's file into an API and a base URL.

    The result's ``note`` says what was changed; its ``refusal``, why the address cannot be used.
    """
    if provider in {"azure", "azure_ai"}:
        return _azure(model, written)
    if provider in {"bedrock", "bedrock_converse"}:
        return _bedrock(written)
    if provider in {"vertex_ai", "vertex_ai_beta"}:
        return _vertex(written)
    if provider in {"ollama", "ollama_chat", "huggingface"}:
        return _below_v1(written)
    if provider in _SERVED_AT_V1 and not split(written).path.strip("/"):
        return _below_v1(written)
    return Address(_API.get(provider, "openai"), written)


_SERVED_AT_V1 = frozenset({"hosted_vllm", "llamafile", "lm_studio", "vllm"})
"""Servers that answer at no other path, unless something stands before them."""
_API: dict[str, Api] = {"anthropic": "anthropic", "gemini": "gemini"}


def _azure(model: str, written: str) -> Address:
    parts = split(written)
    host, path = parts.hostname or "", parts.path.rstrip("/")
    if host.endswith(AZURE_HOSTS):
        claude = model.startswith("claude") and host.endswith(".services.ai.azure.com")
        api: Api = "anthropic" if claude else "openai"
        asked = f"https://{host}{'/anthropic' if claude else '/openai/v1'}"
        note = f"the same resource is asked at {asked}, which takes no api-version; {model} has to be a deployment there."
        return Address(api, asked, "" if written.rstrip("/") == asked else note)
    if path.endswith("/openai/v1"):
        return Address("openai", written)
    return Address(
        "openai",
        written,
        refusal="is no resource of Azure's, and Azure's API with an api-version is not spoken here. If it hands "
        "on Azure's v1 API, write the address that ends in /openai/v1",
    )


def _bedrock(written: str) -> Address:
    if split(written).path.rstrip("/").endswith("/openai/v1"):
        return Address("openai", written)
    return Address("openai", written, refusal=f"signs requests for AWS, which is not done here. {BEDROCK}")


def _vertex(written: str) -> Address:
    if "/publishers/google" in split(written).path:
        return Address("gemini", written)
    return Address("gemini", written, refusal=f"wants tokens of Google's OAuth. {VERTEX}")


def _below_v1(written: str) -> Address:
    path = split(written).path.rstrip("/")
    if path.endswith(_VERSIONED):
        return Address("openai", written)
    if path:
        return Address(
            "openai", written, refusal="must end in /v1, where the server speaks OpenAI's Chat Completions"
        )
    asked = f"{written.rstrip('/')}{_VERSIONED}"
    return Address("openai", asked, f"is asked at {asked}, where it speaks OpenAI's Chat Completions.")


def split(address: str) -> SplitResult:
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
