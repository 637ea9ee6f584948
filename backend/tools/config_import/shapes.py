"""Reads LMI's configurations: a typed config, a name with keyword arguments, or arguments of litellm's Router.

A file holds one of these, or a mapping from features to them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from backend.tools.config_import.advice import DUMPS, NAMES, SIBLINGS
from backend.tools.config_import.origins import LMI
from backend.tools.config_import.router import read_router_models
from backend.tools.config_import.specs import SPEC_KEYS, ImportedFeature, ModelSpec, pop_model_spec
from backend.utils.llm.problems import did_you_mean

if TYPE_CHECKING:
    from backend.tools.config_import.nodes import ConfigNode

_MARKS = {"models", "model_list", "name", "fallbacks", "router_kwargs"}
LMI_MARKS = (_MARKS | SIBLINGS.keys()) - {"model_list"}
"""Keys of a config, beside a list of models, that only LMI reads."""
_FITS = "Write `models`, `model_list` or `name`, or a mapping from features to these."


def read_lmi_features(document: ConfigNode, feature: str) -> list[ImportedFeature]:
    """Read the features from a configuration of LMI, an LLM client by Future House.

    Args:
        document: The configuration of a single feature, or a mapping from features to configurations.
        feature: The name for a single feature.
    """
    if is_single_feature_config(document.value):
        return [_config(feature, document)]
    named: dict[str, ImportedFeature] = {}
    for key, node in document.read_entries().items():
        name = _feature(key, node)
        if name in named:
            node.report_finding(
                "wrong", f"is the feature {name} here, as {named[name].place.path} is. Rename one."
            )
        named.setdefault(name, _config(name, node))
    if document.value == {}:
        document.report_finding("wrong", f"is empty. {_FITS}")
    return list(named.values())


def is_single_feature_config(value: object) -> bool:
    """Whether ``value`` configures a single feature, rather than being a mapping from features to their configurations."""
    return isinstance(value, str) or (isinstance(value, Mapping) and any(mark in value for mark in _MARKS))


def to_feature_name(text: str) -> str:
    """Turn ``text`` into a valid feature name, which has only a-z, 0-9 and _, and begins with a letter."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    free = name and not name[0].isdigit() and name != "extends"
    return name if free else f"feature_{name}".rstrip("_")


def _feature(key: str, node: ConfigNode) -> str:
    name = to_feature_name(key)
    if name != key:
        node.report_finding("changed", f"is the feature {name} here: that is what get_llm must be given.")
    return name


def _config(feature: str, node: ConfigNode) -> ImportedFeature:
    if isinstance(node.value, str):
        return ImportedFeature(feature, node, (ModelSpec(node, {}, name=node),), LMI)
    if is_single_feature_config(node.value):
        return ImportedFeature(feature, node, _specs(node), LMI)
    node.report_finding("wrong", f"is no config that LMI reads. {_FITS}")
    return ImportedFeature(feature, node, (), LMI)


def _specs(node: ConfigNode) -> tuple[ModelSpec, ...]:
    entries = node.read_entries()
    if "models" in entries:
        return _typed(node, entries)
    if "name" in entries and "model_list" not in entries:
        return (_flat(node, entries),)
    return read_router_models(node, entries)


def _typed(node: ConfigNode, entries: dict[str, ConfigNode]) -> tuple[ModelSpec, ...]:
    models = entries.pop("models")
    if entries.pop("model_list", None):
        node.report_finding("wrong", "holds both `models` and `model_list`. Keep one of them.")
    for key, other in entries.items():
        if key in SIBLINGS:
            other.report_finding("dropped", SIBLINGS[key])
        else:
            other.report_finding("wrong", f"is no key of a config. {did_you_mean(key, ['models'])}")
    if models.value == []:
        models.report_finding("wrong", "is empty: a chain has one model at least.")
    return tuple(spec for model in models.read_elements() if (spec := _spec(model.with_subreport())))


def _spec(node: ConfigNode) -> ModelSpec | None:
    entries = node.read_entries()
    if not node.is_mapping:
        return None
    spec = pop_model_spec(node, entries)
    for key, other in entries.items():
        fix = "Write it under extra_params." if key in NAMES else did_you_mean(key, SPEC_KEYS)
        other.report_finding("wrong", f"is no key of a model. {fix}")
    return spec


def _flat(node: ConfigNode, entries: dict[str, ConfigNode]) -> ModelSpec:
    spec = pop_model_spec(node, entries)
    for key in sorted(entries.keys() & spec.params.keys()):
        entries.pop(key).report_finding("dropped", f"{spec.params[key].path} goes over it, as in LMI.")
    for key in sorted(entries.keys() & DUMPS.keys()):
        entries.pop(key).report_finding("wrong", DUMPS[key])
    return replace(spec, params={**entries, **spec.params})
