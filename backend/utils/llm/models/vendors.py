"""Vendors of OpenAI-compatible APIs, and the capabilities of models that each changes, from its own pages where possible.

A vendor is recognised by the host of its address, or else by its name in the table. Values here override `models.py`, and
the table of features overrides both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from .models import capability_sources, find_capabilities
from .names import normalize_model_name
from .sources import CHECKED, DECLARED, OURS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .abilities import Capabilities


@dataclass(frozen=True, eq=False)
class ModelVendor:
    """A vendor of an API for models, and how its models differ from the list of models.

    Attributes:
        name: The vendor's name in the price list.
        hosts: The hosts of its APIs; their subdomains count, too.
        chat: The capabilities that differ for every model that it serves over Chat Completions.
        responses: The capabilities that differ for every model that it serves over Responses.
        models: By the beginning of a model's name, the capabilities that differ over Chat Completions.
        renamed: The parameters of Chat Completions that the vendor names differently: OpenAI's name to the
            vendor's.
        page: The page that is the source of these values.
    """

    name: str
    hosts: tuple[str, ...] = ()
    chat: Mapping[str, Any] = field(default_factory=dict)
    responses: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    page: str = ""

    def _overrides(self, model: str, mode: str) -> Mapping[str, Any]:
        """The capabilities of ``model`` that this vendor changes."""
        if mode != "chat":
            return self.responses
        name = normalize_model_name(model)
        own = [row for start, row in self.models.items() if name.startswith(start)]
        return {**self.chat, **own[0]} if own else self.chat

    def model_capabilities(self, model: str, mode: str) -> Capabilities:
        """The capabilities of ``model`` at this vendor: those in the list of models, with the vendor's differences.

        ``mode`` is ``chat`` for Chat Completions; any other mode is Responses.
        """
        known, values = find_capabilities(model), self._overrides(model, mode)
        lacks = dict.fromkeys((*known.lacks, *values.get("lacks", ())))
        return known.model_copy(update={**values, "lacks": tuple(lacks)})

    def capability_sources(
        self, model: str, endpoint_capabilities: Capabilities, mode: str
    ) -> dict[str, str]:
        """Map the name of each of an endpoint's capabilities at this vendor to the source of its value."""
        here, values = self.model_capabilities(model, mode), self._overrides(model, mode)
        sources = capability_sources(model)
        sources |= dict.fromkeys(values, f"{self.page}, {CHECKED}" if self.page else OURS)
        return {
            name: source if getattr(endpoint_capabilities, name) == getattr(here, name) else DECLARED
            for name, source in sources.items()
        }


OTHER: Final = ModelVendor("")
"""An unknown vendor, assumed to serve what OpenAI does."""
GRAMMAR: Final = ModelVendor("", chat={"schema_form": "grammar"})
"""The vendor that stands for the server of the embedded model."""
_SURVEY: Final = "https://www.developersdigest.tech/blog/structured-outputs-across-ai-apis-2026"
_OLD_LENGTH: Final = {"max_completion_tokens": "max_tokens"}

VENDORS: Final = (
    ModelVendor(
        "openai",
        ("api.openai.com",),
        chat={"lacks": ("metadata",)},
        responses={"lacks": ("metadata",)},
        page="QwenLM/qwen-code#243, spiceai/spiceai#5231: metadata only of what is stored, and nothing is",
    ),
    ModelVendor(
        "azure",
        ("openai.azure.com", "services.ai.azure.com", "cognitiveservices.azure.com"),
        chat={"schema_form": "azure", "lacks": ("metadata",)},
        responses={"schema_form": "azure", "lacks": ("metadata",)},
        page="https://learn.microsoft.com/azure/ai-foundry/openai/how-to/structured-outputs",
    ),
    ModelVendor(
        "anthropic",
        ("api.anthropic.com",),
        chat={
            "schema_form": "tool",
            "logprobs": False,
            "efforts": (),
            "cache_key": False,
            "lacks": ("cache_retention", "metadata", "seed", "service_tier", "strict", "user", "verbosity"),
        },
        page="https://docs.anthropic.com/en/api/openai-sdk",
    ),
    ModelVendor(
        "openrouter",
        ("openrouter.ai",),
        chat={"schema_form": "minimal"},
        responses={"schema_form": "minimal"},
        page="https://openrouter.ai/docs/structured-outputs",
    ),
    ModelVendor(
        "google",
        ("generativelanguage.googleapis.com", "aiplatform.googleapis.com"),
        chat={"schema_form": "minimal"},
        page="https://ai.google.dev/gemini-api/docs/openai",
    ),
    ModelVendor(
        "perplexity",
        ("api.perplexity.ai",),
        chat={"schema_form": "loose", "tools": False, "strict_turns": True},
        renamed=_OLD_LENGTH,
        page="https://docs.perplexity.ai/guides/chat-completions-guide",
    ),
    ModelVendor(
        "deepseek",
        ("api.deepseek.com",),
        chat={
            "schema_form": "json",
            "lacks": (
                "metadata",
                "parallel_tool_calls",
                "seed",
                "service_tier",
                "strict",
                "user",
                "verbosity",
            ),
        },
        renamed=_OLD_LENGTH,
        page="https://api-docs.deepseek.com/guides/json_mode",
    ),
    ModelVendor(
        "mistral",
        ("api.mistral.ai",),
        chat={
            "schema_form": "minimal",
            "logprobs": False,
            "strict_turns": True,
            "short_call_ids": True,
            "lacks": ("service_tier", "user", "verbosity"),
        },
        renamed={**_OLD_LENGTH, "seed": "random_seed"},
        page="https://docs.mistral.ai/api",
    ),
    ModelVendor(
        "groq",
        ("api.groq.com",),
        chat={"schema_form": "json", "logprobs": False},
        models={"gpt-oss": {"schema_form": "minimal", "logprobs": False}},
        page="https://console.groq.com/docs/openai and …/structured-outputs",
    ),
    ModelVendor(
        "x-ai",
        ("api.x.ai",),
        chat={"schema_form": "minimal"},
        page=_SURVEY,
    ),
    ModelVendor(
        "cerebras",
        ("api.cerebras.ai",),
        chat={"schema_form": "minimal", "lacks": ("parallel_tool_calls", "service_tier", "verbosity")},
        page="https://hexdocs.pm/req_llm/cerebras.html, after the vendor's own pages",
    ),
    ModelVendor(
        "fireworks",
        ("api.fireworks.ai",),
        chat={"schema_form": "minimal"},
        page="https://docs.fireworks.ai/structured-responses/structured-response-formatting",
    ),
    ModelVendor(
        "moonshotai",
        ("api.moonshot.ai", "api.moonshot.cn"),
        chat={"schema_form": "json", "lacks": ("strict",)},
        page="https://docs.instructorphp.com/cookbook/examples/B04_LLMApiSupport/llm_moonshotai.md",
    ),
    ModelVendor(
        "zai",
        ("api.z.ai", "open.bigmodel.cn"),
        chat={"schema_form": "json", "lacks": ("strict",)},
        page=_SURVEY,
    ),
    ModelVendor(
        "minimax",
        ("api.minimax.io", "api.minimaxi.com"),
        chat={"schema_form": "json"},
        page=_SURVEY,
    ),
)
BY_NAME: Final = {vendor.name: vendor for vendor in VENDORS}


def find_vendor(host: str, name: str = "") -> ModelVendor:
    """Find the vendor whose API is at ``host``, else the vendor called ``name``; `OTHER` if both are unknown."""
    for vendor in VENDORS:
        if any(host == item or host.endswith(f".{item}") for item in vendor.hosts):
            return vendor
    return BY_NAME.get(name, OTHER)
