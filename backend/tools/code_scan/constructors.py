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
class Constructor:
    """Describes one class or function whose call makes a model, so that the scan can recognise the call and its arguments.

    Attributes:
        provider: LiteLLM's name of the provider; None if the model's name includes it.
        names: LiteLLM's name of each argument.
        kind: The kind of model: chat, or embeddings.
        is_call: Whether it also calls the model, with messages and tools among its arguments.
        positional: The names of its positional arguments.
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
    "AzureChatOpenAI": Constructor("azure", _AZURE),
    "AzureOpenAIEmbeddings": Constructor("azure", _AZURE, kind="embedding"),
    "ChatAnthropic": Constructor("anthropic", _ANTHROPIC),
    "ChatAnthropicVertex": Constructor("vertex_ai"),
    "ChatBedrock": Constructor("bedrock", _USUAL | {"model_id": "model"}),
    "ChatBedrockConverse": Constructor("bedrock", _USUAL | {"model_id": "model"}),
    "ChatCohere": Constructor("cohere_chat"),
    "ChatDeepSeek": Constructor("deepseek", _own("deepseek")),
    "ChatFireworks": Constructor("fireworks_ai", _own("fireworks")),
    "ChatGoogleGenerativeAI": Constructor("gemini", _GOOGLE),
    "ChatGroq": Constructor("groq", _own("groq")),
    "ChatHuggingFace": Constructor("huggingface"),
    "ChatLiteLLM": Constructor(None, _USUAL | {"api_base": "api_base"}),
    "ChatMistralAI": Constructor("mistral", _own("mistral", endpoint="api_base")),
    "ChatNVIDIA": Constructor("nvidia_nim", _own("nvidia")),
    "ChatOllama": Constructor("ollama_chat"),
    "ChatOpenAI": Constructor("openai", _OPENAI),
    "ChatOpenRouter": Constructor("openrouter", _own("openrouter")),
    "ChatPerplexity": Constructor("perplexity", _own("pplx")),
    "ChatTogether": Constructor("together_ai", _own("together")),
    "ChatVertexAI": Constructor("vertex_ai"),
    "ChatXAI": Constructor("xai", _own("xai")),
    "CohereEmbeddings": Constructor("cohere", kind="embedding"),
    "GoogleGenerativeAIEmbeddings": Constructor("gemini", _GOOGLE, kind="embedding"),
    "MistralAIEmbeddings": Constructor("mistral", _own("mistral"), kind="embedding"),
    "OllamaEmbeddings": Constructor("ollama", kind="embedding"),
    "OpenAIEmbeddings": Constructor("openai", _OPENAI, kind="embedding"),
    "VertexAIEmbeddings": Constructor("vertex_ai", kind="embedding"),
}
"""LangChain's classes, recognised by name, wherever they are imported from."""

_LITELLM_CALL: Final = _USUAL | {"api_base": "api_base", "num_retries": "max_retries"}
FUNCTIONS: Final = {
    "langchain.chat_models.init_chat_model": Constructor(None),
    "langchain.chat_models.base.init_chat_model": Constructor(None),
    "langchain.embeddings.init_embeddings": Constructor(None, kind="embedding"),
    "langchain.embeddings.base.init_embeddings": Constructor(None, kind="embedding"),
} | {
    f"litellm.{name}": Constructor(None, _LITELLM_CALL, kind=kind, is_call=True)
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
