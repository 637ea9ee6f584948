"""The known calls that make or call a model, with LiteLLM's names of their arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_USUAL: Final = {
    "api_key": "api_key",
    "base_url": "api_base",
    "max_retries": "max_retries",
    "model": "model",
    "model_name": "model",
    "request_timeout": "timeout",
    "timeout": "timeout",
}
_OPENAI: Final = _USUAL | {
    "openai_api_base": "api_base",
    "openai_api_key": "api_key",
    "use_responses_api": "responses_api",
}


@dataclass(frozen=True)
class ModelConstructor:
    """Describes a class or function that makes a chat or embedding model, so that the scan can read calls of it.

    Attributes:
        provider: LiteLLM's name of the provider; None if the model's name includes the provider.
        names: For each argument, LiteLLM's name of it.
        kind: The kind of model: ``chat`` or ``embedding``.
        is_call: Whether the function also calls the model. Then messages and tools are among its arguments.
        positional: The names of the positional arguments, in order.
    """

    provider: str | None
    names: Mapping[str, str] = field(default_factory=lambda: _USUAL)
    kind: str = "chat"
    is_call: bool = False
    positional: tuple[str, ...] = ("model",)


_AZURE: Final = _OPENAI | {
    "azure_deployment": "deployment",
    "azure_endpoint": "api_base",
    "deployment_name": "deployment",
}
_GOOGLE: Final = _USUAL | {
    "google_api_key": "api_key",
    "max_output_tokens": "max_tokens",
    "thinking_level": "reasoning_effort",
}
_ANTHROPIC: Final = _USUAL | {
    "anthropic_api_key": "api_key",
    "anthropic_api_url": "api_base",
    "default_request_timeout": "timeout",
    "max_tokens_to_sample": "max_tokens",
}


def _own(name: str, **names: str) -> dict[str, str]:
    return _USUAL | {f"{name}_api_key": "api_key", f"{name}_api_base": "api_base"} | names


LANGCHAIN: Final = {
    "AzureChatOpenAI": ModelConstructor("azure", _AZURE),
    "AzureOpenAIEmbeddings": ModelConstructor("azure", _AZURE, kind="embedding"),
    "ChatAnthropic": ModelConstructor("anthropic", _ANTHROPIC),
    "ChatAnthropicVertex": ModelConstructor("vertex_ai"),
    "ChatBedrock": ModelConstructor("bedrock", _USUAL | {"model_id": "model"}),
    "ChatBedrockConverse": ModelConstructor("bedrock", _USUAL | {"model_id": "model"}),
    "ChatCohere": ModelConstructor("cohere_chat"),
    "ChatDeepSeek": ModelConstructor("deepseek", _own("deepseek")),
    "ChatFireworks": ModelConstructor("fireworks_ai", _own("fireworks")),
    "ChatGoogleGenerativeAI": ModelConstructor("gemini", _GOOGLE),
    "ChatGroq": ModelConstructor("groq", _own("groq")),
    "ChatHuggingFace": ModelConstructor("huggingface"),
    "ChatLiteLLM": ModelConstructor(None, _USUAL | {"api_base": "api_base"}),
    "ChatMistralAI": ModelConstructor("mistral", _own("mistral", endpoint="api_base")),
    "ChatNVIDIA": ModelConstructor("nvidia_nim", _own("nvidia")),
    "ChatOllama": ModelConstructor("ollama_chat"),
    "ChatOpenAI": ModelConstructor("openai", _OPENAI),
    "ChatOpenRouter": ModelConstructor("openrouter", _own("openrouter")),
    "ChatPerplexity": ModelConstructor("perplexity", _own("pplx")),
    "ChatTogether": ModelConstructor("together_ai", _own("together")),
    "ChatVertexAI": ModelConstructor("vertex_ai"),
    "ChatXAI": ModelConstructor("xai", _own("xai")),
    "CohereEmbeddings": ModelConstructor("cohere", kind="embedding"),
    "GoogleGenerativeAIEmbeddings": ModelConstructor("gemini", _GOOGLE, kind="embedding"),
    "MistralAIEmbeddings": ModelConstructor("mistral", _own("mistral"), kind="embedding"),
    "OllamaEmbeddings": ModelConstructor("ollama", kind="embedding"),
    "OpenAIEmbeddings": ModelConstructor("openai", _OPENAI, kind="embedding"),
    "VertexAIEmbeddings": ModelConstructor("vertex_ai", kind="embedding"),
}
"""LangChain's classes, recognised by name, wherever they are imported from."""

_LITELLM_CALL: Final = _USUAL | {"api_base": "api_base", "num_retries": "max_retries"}
FUNCTIONS: Final = {
    "langchain.chat_models.init_chat_model": ModelConstructor(None),
    "langchain.chat_models.base.init_chat_model": ModelConstructor(None),
    "langchain.embeddings.init_embeddings": ModelConstructor(None, kind="embedding"),
    "langchain.embeddings.base.init_embeddings": ModelConstructor(None, kind="embedding"),
} | {
    f"litellm.{name}": ModelConstructor(None, _LITELLM_CALL, kind=kind, is_call=True)
    for name, kind in (
        ("acompletion", "chat"),
        ("aembedding", "embedding"),
        ("aresponses", "chat"),
        ("completion", "chat"),
        ("embedding", "embedding"),
        ("responses", "chat"),
    )
}
"""Functions, recognised by the module they are imported from."""

AGENTS: Final = frozenset({"create_agent", "create_react_agent"})
"""Functions that make an agent from a model or a model's name."""
ROUTERS: Final = frozenset({"litellm.Router", "litellm.router.Router"})

LANGCHAINS_VARIABLES: Final = {
    "azure": "AZURE_OPENAI_API_KEY",
    "gemini": "GOOGLE_API_KEY",
    "nvidia_nim": "NVIDIA_API_KEY",
    "perplexity": "PPLX_API_KEY",
}
"""The environment variables of LangChain's that differ from the provider's variable here."""

LANGCHAINS_PROVIDERS: Final = {
    "anthropic": "anthropic",
    "azure_ai": "azure_ai",
    "azure_openai": "azure",
    "bedrock": "bedrock",
    "bedrock_converse": "bedrock",
    "cohere": "cohere_chat",
    "deepseek": "deepseek",
    "fireworks": "fireworks_ai",
    "google_anthropic_vertex": "vertex_ai",
    "google_genai": "gemini",
    "google_vertexai": "vertex_ai",
    "groq": "groq",
    "huggingface": "huggingface",
    "mistralai": "mistral",
    "nvidia": "nvidia_nim",
    "ollama": "ollama_chat",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together": "together_ai",
    "xai": "xai",
}
"""Providers as `init_chat_model` calls them, and as LiteLLM does."""

SDK_CALLS: Final = (
    "chat.completions.create",
    "chat.completions.parse",
    "completions.create",
    "embeddings.create",
    "messages.create",
    "messages.stream",
    "models.embed_content",
    "models.generate_content",
    "models.generate_content_stream",
    "responses.create",
    "responses.parse",
)
"""The last names of calls of the vendors' own clients."""
CARRIED_ELSEWHERE: Final = frozenset(
    {
        "cache",
        "callbacks",
        "input",
        "messages",
        "name",
        "tags",
        "tools",
        "verbose",
    }
)
"""Arguments that have no part in routing, and stay in the code."""
