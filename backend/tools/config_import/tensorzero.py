"""TensorZero's gateway: each function becomes a feature with a weighted group of its variants.

A variant's model names providers that are tried in order. The providers after the first, and the variants that are only
fallbacks, come after the group in the chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from backend.tools.config_import.findings import quote_for_report
from backend.tools.config_import.nodes import ConfigNode, none_if_null
from backend.tools.config_import.origins import TENSORZERO
from backend.tools.config_import.shapes import to_feature_name
from backend.tools.config_import.specs import ImportedFeature, ModelGroup, ModelSpec
from backend.tools.config_import.weights import to_integer_weights
from backend.utils.llm.problems import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

_PROVIDERS = {
    "aws_bedrock": "bedrock",
    "aws_sagemaker": "sagemaker",
    "fireworks": "fireworks_ai",
    "gcp_vertex_anthropic": "vertex_ai",
    "gcp_vertex_gemini": "vertex_ai",
    "google_ai_studio_gemini": "gemini",
    "sglang": "hosted_vllm",
    "tgi": "hosted_vllm",
    "together": "together_ai",
    "vllm": "hosted_vllm",
}
"""TensorZero's names of providers, where LiteLLM has another."""
_SETTINGS = {
    "max_tokens": "max_tokens",
    "reasoning_effort": "reasoning_effort",
    "seed": "seed",
    "service_tier": "service_tier",
    "temperature": "temperature",
    "thinking_budget_tokens": "thinking_budget",
    "top_p": "top_p",
    "verbosity": "verbosity",
}
"""Settings of a variant, by the names that are translated."""
_IN_CODE = "is not imported: prompts, schemas and tools stay in product code."
_TOLD = {
    "description": "is not imported. Write it as `about`.",
    "extra_body": "is not imported. Write it as `extra_body` into the row of the provider or the endpoint.",
    "extra_headers": "is not imported. Write headers into the provider's row.",
    "json_mode": "is not imported: each endpoint gets the form of a schema that it knows.",
    "parallel_tool_calls": "is not imported: it belongs to a call. Use bind_tools.",
    "stop_sequences": "is not imported: it belongs to a call. Give the call stop=.",
    "tool_choice": "is not imported: it belongs to a call. Use bind_tools.",
}
_SECTIONS = {
    "evaluations": "is not imported: see docs/how-to/test-your-product-code.md.",
    "gateway": "is not imported: it is of the gateway's own server.",
    "metrics": "is not imported: `accept=` and `rate` say how good an answer was.",
    "rate_limiting": "is not imported. Use `limits` of a provider, an endpoint or a feature.",
    "tools": _IN_CODE,
}
_MILLISECONDS = 1000
_LARGEST = 1e12


class _Variant(NamedTuple):
    name: str
    place: ConfigNode
    specs: tuple[ModelSpec, ...]
    weight: float | None


def read_tensorzero_features(document: ConfigNode) -> list[ImportedFeature]:
    """Read the features from a TensorZero gateway's configuration.

    Each function, and each model that no function uses, is a feature.
    """
    entries = document.read_entries()
    models = _entries(entries.pop("models", None))
    vectors = _entries(entries.pop("embedding_models", None))
    named = _entries(entries.pop("functions", None))
    for key, node in entries.items():
        node.report_finding(
            "dropped", _SECTIONS.get(key, "is not imported: a table has nothing of the kind.")
        )
    used: set[str] = set()
    found = [_function(name, node, models, used) for name, node in named.items()]
    alone: list[tuple[str, ConfigNode, str | None]] = [
        (name, node, None) for name, node in models.items() if name not in used
    ]
    alone += [(name, node, "embedding") for name, node in vectors.items()]
    for name, node, kind in alone:
        specs = tuple(replace(spec, kind=kind) for spec in _routed(node))
        found.append(ImportedFeature(_feature(name, node), node, specs, TENSORZERO))
    if not found:
        document.report_finding("wrong", "has neither a function nor a model.")
    return found


def _entries(node: ConfigNode | None) -> dict[str, ConfigNode]:
    return node.read_entries() if node is not None and node.value is not None else {}


def _feature(name: str, node: ConfigNode) -> str:
    feature = to_feature_name(name)
    if feature != name:
        node.report_finding("changed", f"is the feature {feature} here: that is what get_llm must be given.")
    return feature


# Functions --------------------------------------------------------------------------------------------------------


def _function(
    name: str, node: ConfigNode, models: Mapping[str, ConfigNode], used: set[str]
) -> ImportedFeature:
    entries = node.read_entries()
    kind, tools = none_if_null(entries.pop("type", None)), none_if_null(entries.pop("tools", None))
    trial = _entries(entries.pop("experimentation", None))
    listed = _entries(entries.pop("variants", None))
    for key, other in entries.items():
        other.report_finding("dropped", _TOLD.get(key, _IN_CODE))
    if not listed:
        node.report_finding("wrong", "has no variant, which says the model.")
    variants = [_variant(each, node.with_subreport(), models, used) for each, node in listed.items()]
    feature = _feature(name, node)
    needs = (("structured_output",) if kind and kind.value == "json" else ()) + (("tools",) if tools else ())
    specs = _chosen(feature, [each for each in variants if each.specs], trial)
    return ImportedFeature(feature, node, specs, TENSORZERO, needs=needs)


def _variant(name: str, node: ConfigNode, models: Mapping[str, ConfigNode], used: set[str]) -> _Variant:
    entries = node.read_entries()
    kind, weight = none_if_null(entries.pop("type", None)), none_if_null(entries.pop("weight", None))
    model = none_if_null(entries.pop("model", None))
    if kind is not None and str(kind.value) not in {"chat_completion", "experimental_chain_of_thought"}:
        node.report_finding(
            "wrong",
            f"is of the type {quote_for_report(str(kind.value))}, and one call is made here. Take it out, or ask in product code.",
        )
        return _Variant(name, node, (), None)
    if model is None or (text := model.read_text()) is None:
        node.report_finding("wrong", "names no model.")
        return _Variant(name, node, (), None)
    used.add(text)
    specs = _of_model(text, model, node, models)
    return _Variant(name, node, tuple(_set(specs, entries)), _share(weight) if weight else None)


def _share(weight: ConfigNode) -> float | None:
    """The relative frequency in ``weight``; None, with a finding, if it is no number."""
    share = weight.value
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < _LARGEST:
        weight.report_finding("wrong", "must be a number from 0.")
        return None
    return float(share)


def _set(specs: Iterable[ModelSpec], entries: dict[str, ConfigNode]) -> Iterable[ModelSpec]:
    """``specs`` with the variant's own settings, which override those of the providers."""
    retries = _entries(entries.pop("retries", None))
    clocks = _clocks(_entries(entries.pop("timeouts", None)))
    again = none_if_null(retries.get("num_retries"))
    params = {_SETTINGS[key]: entries.pop(key) for key in [key for key in entries if key in _SETTINGS]}
    for key, node in entries.items():
        node.report_finding("dropped", _TOLD.get(key, _IN_CODE))
    for spec in specs:
        yield replace(
            spec,
            params={**spec.params, **params},
            max_retries=again or spec.max_retries,
            timeout=clocks.get("timeout") or spec.timeout,
            first_chunk=clocks.get("first_chunk") or spec.first_chunk,
        )


def _clocks(timeouts: dict[str, ConfigNode]) -> dict[str, ConfigNode]:
    """TensorZero's milliseconds in seconds."""
    whole = _entries(timeouts.get("non_streaming")).get("total_ms")
    first = _entries(timeouts.get("streaming")).get("ttft_ms")
    return {
        name: ConfigNode(node.value / _MILLISECONDS, node.path, node.findings)
        for name, node in (("timeout", whole), ("first_chunk", first))
        if node is not None and isinstance(node.value, int | float) and not isinstance(node.value, bool)
    }


def _chosen(feature: str, variants: list[_Variant], trial: Mapping[str, ConfigNode]) -> tuple[ModelSpec, ...]:
    """The variants' models: first those among which one is chosen, then the fallbacks."""
    shares = _shares(variants, trial)
    among = [each for each in variants if shares.get(each.name)]
    among = among or variants
    follow = _fallbacks(variants, trial)
    group = ModelGroup(feature, "weighted") if len(among) > 1 else None
    weights = to_integer_weights([shares.get(each.name, 1.0) for each in among])
    chosen = [
        replace(each.specs[0], group=group, weight=weight if group else None)
        for each, weight in zip(among, weights, strict=True)
    ]
    behind = [spec for each in among for spec in each.specs[1:]] + [
        spec for each in follow if each not in among for spec in each.specs
    ]
    return (*chosen, *behind)


def _shares(variants: Iterable[_Variant], trial: Mapping[str, ConfigNode]) -> dict[str, float]:
    """The relative frequency of each variant."""
    listed = none_if_null(trial.get("candidate_variants"))
    kind = none_if_null(trial.get("type"))
    if kind is not None and str(kind.value) in {"adaptive", "track_and_stop"}:
        kind.report_finding(
            "changed", "is a choice in equal shares here. See `split` and `stop` in docs/reference/table.md."
        )
    if listed is None:
        return {each.name: each.weight for each in variants if each.weight}
    if isinstance(listed.value, Mapping):
        shares = {name: _share(node) for name, node in listed.read_entries().items()}
        return {name: share for name, share in shares.items() if share}
    return {str(name.value): 1.0 for name in listed.read_elements()}


def _fallbacks(variants: Iterable[_Variant], trial: Mapping[str, ConfigNode]) -> list[_Variant]:
    """The variants that are tried after the chosen ones have failed: the named ones in order; else all others."""
    by_name = {each.name: each for each in variants}
    listed = none_if_null(trial.get("fallback_variants"))
    if listed is None:
        return [each for each in by_name.values() if each.weight is None] if not trial else []
    return [
        by_name[text] for node in listed.read_elements() if (text := node.read_text()) in by_name and text
    ]


# Models -----------------------------------------------------------------------------------------------------------


def _of_model(
    name: str, place: ConfigNode, spec_place: ConfigNode, models: Mapping[str, ConfigNode]
) -> list[ModelSpec]:
    """The models behind a name: a model of the file, or ``provider::model``."""
    if name in models:
        return _routed(models[name])
    provider, mark, model = name.partition("::")
    if not mark:
        place.report_finding(
            "wrong", f"there is no model {quote_for_report(name)}. {did_you_mean(name, models)}".rstrip()
        )
        return []
    written = f"{_PROVIDERS.get(provider, provider)}/{model}"
    return [
        ModelSpec(
            spec_place,
            {},
            name=ConfigNode(written, place.path, spec_place.findings),
            api_key=_usual_key(provider, place),
        )
    ]


def _usual_key(provider: str, place: ConfigNode) -> ConfigNode | None:
    """The variable in which TensorZero looks for a provider's key, where it differs from ours."""
    if provider == "google_ai_studio_gemini":
        return ConfigNode("os.environ/GOOGLE_AI_STUDIO_API_KEY", place.path, place.findings)
    return None


def _routed(node: ConfigNode) -> list[ModelSpec]:
    """The providers of a model, in the order of its routing."""
    entries = node.read_entries()
    listed, named = none_if_null(entries.pop("routing", None)), _entries(entries.pop("providers", None))
    for key, other in entries.items():
        if key != "timeouts":
            other.report_finding(
                "dropped", _TOLD.get(key, "is not imported: a table has nothing of the kind.")
            )
    specs: list[ModelSpec] = []
    for name in listed.read_elements() if listed else ():
        text = name.read_text() or ""
        if text in named:
            specs.append(_provider(named[text]))
        else:
            name.report_finding(
                "wrong",
                f"there is no provider {quote_for_report(text)} of this model. {did_you_mean(text, named)}".rstrip(),
            )
    if not specs:
        node.report_finding("wrong", "names no provider in its routing.")
    return specs


def _provider(node: ConfigNode) -> ModelSpec:
    place = node.with_subreport()
    entries = place.read_entries()
    kind = none_if_null(entries.pop("type", None))
    provider = str(kind.value) if kind else ""
    model = (
        none_if_null(entries.pop("model_name", None))
        or none_if_null(entries.pop("deployment_id", None))
        or none_if_null(entries.pop("model_id", None))
    )
    base = none_if_null(entries.pop("api_base", None)) or none_if_null(entries.pop("endpoint", None))
    api, clocks = (
        none_if_null(entries.pop("api_type", None)),
        _clocks(_entries(entries.pop("timeouts", None))),
    )
    key = _key(none_if_null(entries.pop("api_key_location", None)), provider, place)
    for other, value in entries.items():
        value.report_finding("dropped", _TOLD.get(other, "is not imported: a table has nothing of the kind."))
    written = f"{_PROVIDERS.get(provider, provider)}/{model.value if model else 'MODEL'}"
    return ModelSpec(
        place,
        {},
        name=ConfigNode(written, place.path, place.findings),
        api_base=base,
        api_key=key,
        responses_api=ConfigNode(value=True, path=place.path, findings=place.findings)
        if api and api.value == "responses"
        else None,
        timeout=clocks.get("timeout"),
        first_chunk=clocks.get("first_chunk"),
    )


def _key(location: ConfigNode | None, provider: str, place: ConfigNode) -> ConfigNode | None:
    """The source of a key, in LiteLLM's notation."""
    if location is not None and isinstance(location.value, Mapping):
        location = none_if_null(location.read_entries().get("default"))
    if location is None or (text := location.read_text()) is None:
        return _usual_key(provider, place)
    source, _, name = text.partition("::")
    if source == "env":
        return ConfigNode(f"os.environ/{name}", location.path, location.findings)
    if source == "none":
        return ConfigNode("none", location.path, location.findings)
    if source == "dynamic":
        location.report_finding(
            "changed", "comes with each call: `Caller(keys={…})` brings it. The house's stands in a variable."
        )
        return None
    location.report_finding("todo", f"keys stand in variables here: {quote_for_report(source)} is not read.")
    return None
