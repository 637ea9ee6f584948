"""Turns the models in code into features with chains."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from backend.tools.code_scan.constructors import CARRIED_ELSEWHERE, LANGCHAINS_PROVIDERS, LANGCHAINS_VARIABLES
from backend.tools.code_scan.values import VARIABLE
from backend.tools.config_import import (
    CODE,
    ConfigNode,
    ImportedFeature,
    ImportReport,
    ModelSpec,
    UnknownValue,
    azure_deployment_fields,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backend.tools.code_scan.constructors import ModelConstructor
    from backend.tools.code_scan.sites import ModelConstructorCall, ModelCreationSite
    from backend.tools.code_scan.values import CodeBase, StaticValue

_LATER = "is known only when the code runs. Give it to the call."
_STAYS = "stays in product code: get_llm(FEATURE).with_config(...) takes it."
_CHOSEN = "is not imported. A profile, a caller's tier or get_llm(FEATURE, endpoint=...) chooses."
_CHANGES = {
    "bind": "stays in product code: get_llm(FEATURE).bind(...) takes it.",
    "configurable_alternatives": _CHOSEN,
    "configurable_fields": _CHOSEN,
    "with_retry": "is not imported: retries follow from the kind of the failure, and `attempts` is the most of them.",
}
_ALONE = "is called by itself, too, without the chain that it is in, and that is no feature. Give it a row of its own."
_OTHER = "is another chain of the same models, and no feature. Give it a row of its own."
_OWN = ("api_base", "api_key", "deployment", "max_retries", "model", "responses_api", "timeout")
_SETTINGS = {"max_retries", "responses_api", "timeout"}
_ENTRA = ("azure_ad_token", "azure_ad_token_provider", "azure_ad_async_token_provider")
_CLOUD = ("credentials", "location", "project", "vertexai")
_BARE = (
    ("openai", ("gpt-", "o1", "o3", "o4", "chatgpt-")),
    ("anthropic", ("claude",)),
    ("gemini", ("gemini",)),
)
_VERTEX = (
    "names no provider. LangChain asks Vertex AI for it, with Google Cloud's credentials; here it is Google's Gemini API, "
    "with an API key."
)


def make_imported_feature(
    site: ModelCreationSite, feature: str, code_base: CodeBase, report: ImportReport
) -> ImportedFeature:
    """Make a feature for the table from ``site``, a place in the code where a model is made.

    Args:
        site: The place, with the calls that make the model and its fallbacks.
        feature: The name for the feature.
        code_base: The code base, to evaluate the calls' arguments.
        report: The report, which gets a message about everything that could not be imported.
    """
    place = ConfigNode(None, site.module.location(site.node), report)
    specs = [spec for made in site.chain for spec in _specs(made, site, code_base, report)]
    for method in site.changes:
        report.add_finding("dropped", f"{site.module.location(method)} {method.attr}", _CHANGES[method.attr])
    for other in site.others:
        is_one = any(other is made.node for made in site.chain)
        report.add_finding("todo", site.module.location(other), _ALONE if is_one else _OTHER)
    return ImportedFeature(feature, place, tuple(specs), CODE, needs=site.needs, about=place.path)


def _specs(
    made: ModelConstructorCall, site: ModelCreationSite, project: CodeBase, findings: ImportReport
) -> list[ModelSpec]:
    place = ConfigNode(None, site.module.location(made.node), findings).with_subreport()
    reader = _Reader(made, site, project, place)
    spec = reader.spec()
    return [spec, *reader.fallbacks(spec)] if reader.is_named else []


class _Reader:
    """The arguments of one call, by LiteLLM's names."""

    def __init__(
        self, made: ModelConstructorCall, site: ModelCreationSite, project: CodeBase, place: ConfigNode
    ) -> None:
        self._constructor: ModelConstructor = made.constructor
        self._place = place
        self.is_named = True
        self._fallbacks: StaticValue | None = None
        self._arguments: dict[str, tuple[str, StaticValue]] = {}
        for name, node in _written(made.node, made.constructor):
            value = project.evaluate_expression(node, site.module)
            for each, item in _spread(name, value):
                self._arguments[self._constructor.names.get(each, each)] = (each, item)

    def spec(self) -> ModelSpec:
        """The model and settings of the call."""
        own = {name: self._take(name) for name in _OWN}
        base_model = own["model"] if own["deployment"] else None
        row = self._of_deployment(base_model)
        name = self._name(own["deployment"] or own["model"])
        if name is None and self.is_named and "**" in self._arguments:
            self._tell_unknown("model", self._node("model", None), UnknownValue())
        self._refuse_clouds()
        return ModelSpec(
            self._place,
            self._rest(),
            name=name,
            api_base=own["api_base"],
            api_key=self._key(own["api_key"], name),
            timeout=own["timeout"],
            max_retries=own["max_retries"],
            responses_api=own["responses_api"],
            kind="embedding" if self._constructor.kind == "embedding" else None,
            row=row,
        )

    def fallbacks(self, first: ModelSpec) -> list[ModelSpec]:
        """The further models that a call of LiteLLM's names."""
        listed = self._fallbacks.value if self._fallbacks else None
        found: list[ModelSpec] = []
        for at, never in enumerate(listed if isinstance(listed, list) else ()):
            place = ConfigNode(
                never, f"{self._place.path} fallbacks.{at}", self._place.findings
            ).with_subreport()
            name = never.get("model") if isinstance(never, dict) else never
            found.append(
                ModelSpec(
                    place,
                    first.params,
                    name=ConfigNode(name, place.path, place.findings),
                    timeout=first.timeout,
                )
            )
        return found

    # Arguments ----------------------------------------------------------------------------------------------------

    def _node(self, written: str, value: object) -> ConfigNode:
        return ConfigNode(value, f"{self._place.path} {written}", self._place.findings)

    def _take(self, name: str) -> ConfigNode | None:
        """The argument ``name``; None if it is absent, None, or unknown."""
        written, value = self._arguments.pop(name, ("", None))
        if value is None or value.value is None:
            return None
        node = self._node(written, value.value)
        if isinstance(value.value, UnknownValue):
            self._tell_unknown(name, node, value.value)
            return None
        if name in _SETTINGS and not isinstance(value.value, int | float):
            node.report_finding("dropped", _LATER)
            return None
        if isinstance(value.value, str) and value.value.startswith(VARIABLE) and name != "api_key":
            self.is_named &= name == "api_base"
            variable = value.value.removeprefix(VARIABLE)
            node.report_finding(
                "wrong", f"is what the variable {variable} says, and a table says it itself. Write it there."
            )
            return None
        if value.note and name != "api_key":
            node.report_finding("guessed", f"is taken as it stands: {value.note}.")
        return node

    def _tell_unknown(self, name: str, node: ConfigNode, value: UnknownValue) -> None:
        called = f" ({value.name})" if value.name else ""
        self.is_named &= name not in {"model", "deployment"}
        if name in {"model", "deployment", "api_base"}:
            node.report_finding(
                "wrong",
                f"is known only when the code runs{called}. Name the feature there, and its endpoint in the table.",
            )
        elif name == "api_key":
            node.report_finding(
                "changed",
                f"comes from the code{called}; here from a variable, or with the caller: Caller(keys={{...}}).",
            )
        else:
            node.report_finding("dropped", _LATER)

    def _rest(self) -> dict[str, ConfigNode]:
        """The other arguments, which become extra parameters of requests."""
        found: dict[str, ConfigNode] = {}
        for name, (written, value) in self._arguments.items():
            node = self._node(written, value.value)
            if name == "fallbacks" and self._constructor.is_call:
                self._fallbacks = value
            elif name in CARRIED_ELSEWHERE or (name == "response_format" and self._constructor.is_call):
                if name not in {"input", "messages", "name", "tools", "response_format", "verbose"}:
                    node.report_finding("dropped", _STAYS)
            elif name == "**" or _is_unknown(value.value):
                node.report_finding("dropped", _LATER)
            elif name not in {"api_version", "model_provider", "openai_api_version", "openai_api_type"}:
                found[name] = node
        return found

    def _refuse_clouds(self) -> None:
        for name in _ENTRA:
            written, value = self._arguments.pop(name, ("", None))
            if value is not None and value.value is not None:
                self._node(written, value.value).report_finding(
                    "wrong",
                    "gets tokens of Entra's, which end within the hour. Use an API key of the resource.",
                )
        for name in _CLOUD if self._constructor.provider in {"gemini", "vertex_ai"} else ():
            written, value = self._arguments.pop(name, ("", None))
            if value is not None and value.value not in (None, False):
                self._node(written, value.value).report_finding(
                    "wrong",
                    "asks Vertex AI, with Google Cloud's credentials. See docs/how-to/use-vertex-ai.md.",
                )

    # The model ----------------------------------------------------------------------------------------------------

    def _key(self, node: ConfigNode | None, name: ConfigNode | None) -> ConfigNode | None:
        """The given key, or the variable in which LangChain looks for one."""
        provider = str(name.value).partition("/")[0] if name and not self._constructor.is_call else ""
        variable = LANGCHAINS_VARIABLES.get(provider)
        return node if node or variable is None else self._node("api_key", f"{VARIABLE}{variable}")

    def _of_deployment(self, base: ConfigNode | None) -> Mapping[str, Any]:
        return azure_deployment_fields(base.value) if base is not None and isinstance(base.value, str) else {}

    def _name(self, node: ConfigNode | None) -> ConfigNode | None:
        """The model in LiteLLM's notation: provider/model."""
        if node is None or not isinstance(node.value, str):
            return node
        text = node.value
        if self._constructor.provider is not None:
            text = f"{self._constructor.provider}/{text.removeprefix('models/')}"
        elif not self._constructor.is_call:
            text = self._langchains(text, node)
        return ConfigNode(text, node.path, node.findings)

    def _langchains(self, text: str, node: ConfigNode) -> str:
        """The model that `init_chat_model` makes of ``provider:model``, or of a model beside its provider."""
        _, argument = self._arguments.get("model_provider", ("", None))
        provider, colon, model = text.partition(":")
        if argument is not None and isinstance(argument.value, str):
            provider, model = argument.value, text
        elif not colon or provider not in LANGCHAINS_PROVIDERS:
            provider, model = self._inferred(text, node), text
        return f"{LANGCHAINS_PROVIDERS.get(provider, provider)}/{model}" if provider else model

    def _inferred(self, text: str, node: ConfigNode) -> str:
        found = next((provider for provider, starts in _BARE if text.startswith(starts)), "")
        if found == "gemini":
            node.report_finding("guessed", _VERTEX)
        return "google_genai" if found == "gemini" else found


def _written(call: ast.Call, constructor: ModelConstructor) -> list[tuple[str, ast.expr]]:
    """The arguments in the code, by name; ``**`` for those in a mapping."""
    positional = call.args
    if isinstance(call.func, ast.Name | ast.Attribute) and _last(call.func) == "partial":
        positional = positional[1:]
    found = list(zip(constructor.positional, positional, strict=False))
    return found + [(keyword.arg or "**", keyword.value) for keyword in call.keywords]


def _is_unknown(value: object) -> bool:
    return isinstance(value, UnknownValue) or (isinstance(value, str) and value.startswith(VARIABLE))


def _last(node: ast.Name | ast.Attribute) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr


def _spread(name: str, value: StaticValue) -> list[tuple[str, StaticValue]]:
    """``value`` by its name, or the items of a mapping of further arguments."""
    if name in {"**", "extra", "extra_body", "model_kwargs"} and isinstance(value.value, dict):
        return [(str(key), value._replace(value=item)) for key, item in value.value.items()]
    return [(name, value)]
