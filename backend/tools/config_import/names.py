"""Splits litellm's name of a model into the provider and the provider's name of the model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from backend.tools.config_import.findings import looks_like_api_key, quote_for_report
from backend.tools.config_import.kinds import SERVED, kind_from_model_name, unsupported_kind_message
from backend.tools.config_import.nodes import none_if_null
from backend.tools.config_import.vendors import KNOWN, advice_for_provider
from backend.utils.llm.secrets import is_valid_key

if TYPE_CHECKING:
    from backend.tools.config_import.nodes import ConfigNode
    from backend.tools.config_import.specs import ModelSpec


class LiteLlmModelName(NamedTuple):
    """A model's name in LiteLLM's form ``provider/model``, as its two parts."""

    provider: str
    model: str


_ADDRESSED = {"bedrock", "bedrock_converse", "vertex_ai", "vertex_ai_beta"}
"""Clouds that serve some addresses as other servers do."""
_PLACEHOLDERS = frozenset("{}<>$")
"""What templates write around the name of what they leave open. No model's name has them."""
_BARE = {
    "openai": re.compile(r"(ft:)?gpt-|chatgpt-|o[134](?![0-9a-z])"),
    "anthropic": re.compile(r"claude-"),
    "gemini": re.compile(r"gemini-"),
}
_AS_LITELLM = "names no provider. It is taken for {}, as litellm does."
_NOT_VERTEX = (
    "names no provider. LMI SENDS A BARE GEMINI NAME TO VERTEX AI, with Google Cloud's credentials. "
    "Here it is {}, Google's Gemini API, with the key in GEMINI_API_KEY."
)


def split_model_name(spec: ModelSpec) -> LiteLlmModelName | None:
    """Split the model name of ``spec`` into provider and model.

    None, with an error in the report, if that model cannot be called.
    """
    node = none_if_null(spec.name)
    if node is None:
        spec.place.report_finding("wrong", "names no model.")
        return None
    written = node.read_text()
    if written is None:
        return None
    if not is_valid_key(written) or looks_like_api_key(written):
        node.report_finding(
            "wrong",
            f"{quote_for_report(written)} is not a model's name, which has no white space and is no key.",
        )
        return None
    name = _taken_apart(node, written, addressed=none_if_null(spec.api_base) is not None)
    return name if name and _is_served(node, name, spec.kind) else None


def _is_served(node: ConfigNode, name: LiteLlmModelName, kind: str | None) -> bool:
    kind = kind or kind_from_model_name(name.model)
    if kind not in SERVED:
        node.report_finding("wrong", unsupported_kind_message(kind))
    return kind in SERVED


def _fault_of(written: str) -> str | None:
    """Why ``written`` is not the name of one model; None if it may be."""
    if "*" in written:
        return "stands for many models, and a table names each. Write an entry for each that is used."
    if not _PLACEHOLDERS.isdisjoint(written):
        return "leaves a place for a model's name, and a table says the name itself."
    return None


def _taken_apart(node: ConfigNode, written: str, *, addressed: bool) -> LiteLlmModelName | None:
    if (fault := _fault_of(written)) is not None:
        node.report_finding("wrong", f"{quote_for_report(written)} {fault}")
        return None
    provider, slash, model = written.partition("/")
    if not slash:
        return _bare(node, written)
    if not (provider and model):
        node.report_finding("wrong", f"{quote_for_report(written)} is not written provider/model.")
        return None
    if model.startswith("responses/"):
        model = model.removeprefix("responses/")
        node.report_finding(
            "wrong", f"names an API. Write {provider}/{model}, and responses_api: true beside it."
        )
        return None
    vendor = KNOWN.get(provider)
    signed = provider in _ADDRESSED and addressed
    if not (signed or (vendor and (addressed or not vendor.anywhere))):
        where = "" if vendor else f"there is no provider {quote_for_report(provider)} here. "
        node.report_finding("wrong", f"{where}{advice_for_provider(provider, model)}")
        return None
    return LiteLlmModelName(provider, model)


def _bare(node: ConfigNode, written: str) -> LiteLlmModelName | None:
    vendor = next((vendor for vendor, spelt in _BARE.items() if spelt.match(written)), None)
    if vendor is None:
        fix = "Write provider/model: openai/ for a server that speaks OpenAI's Chat Completions."
        node.report_finding(
            "wrong", f"{quote_for_report(written)} names no provider, and none is guessed. {fix}"
        )
        return None
    says = _NOT_VERTEX if vendor == "gemini" else _AS_LITELLM
    node.report_finding("guessed", says.format(f"{vendor}/{written}"))
    return LiteLlmModelName(vendor, written)
