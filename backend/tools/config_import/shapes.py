"""The shapes that LMI reads: a typed config, a name with keyword arguments, the arguments of litellm's Router.

A file holds one of them, or a mapping from features to them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from backend.tools.config_import.advice import DUMPS, NAMES, SIBLINGS
from backend.tools.config_import.origins import LMI
from backend.tools.config_import.router import router
from backend.tools.config_import.specs import SPEC_KEYS, Config, Spec, take_spec
from backend.utils.llm.problems import did_you_mean

if TYPE_CHECKING:
    from backend.tools.config_import.nodes import Node

_MARKS = {"models", "model_list", "name", "fallbacks", "router_kwargs"}
LMI_MARKS = (_MARKS | SIBLINGS.keys()) - {"model_list"}
"""Keys of a config, beside a list of models, that only LMI reads."""
_FITS = "Write `models`, `model_list` or `name`, or a mapping from features to these."


def configs(document: Node, feature: str) -> list[Config]:
    """Read every feature in ``document``. If it holds a single config without a name, the feature is called ``feature``."""
    if is_one_config(document.value):
        return [_config(feature, document)]
    named: dict[str, Config] = {}
    for key, node in document.entries().items():
        name = _feature(key, node)
        if name in named:
            node.report("wrong", f"is the feature {name} here, as {named[name].place.path} is. Rename one.")
        named.setdefault(name, _config(name, node))
    if document.value == {}:
        document.report("wrong", f"is empty. {_FITS}")
    return list(named.values())


def is_one_config(value: object) -> bool:
    """Whether ``value`` is one config rather than a mapping from features to configs."""
    return isinstance(value, str) or (isinstance(value, Mapping) and any(mark in value for mark in _MARKS))


def identifier(text: str) -> str:
    """Turn ``text`` into a valid feature name: a-z, 0-9 and _, beginning with a letter."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    free = name and not name[0].isdigit() and name != "extends"
    return name if free else f"feature_{name}".rstrip("_")


def _feature(key: str, node: Node) -> str:
    name = identifier(key)
    if name != key:
        node.report("changed", f"is the feature {name} here: that is what get_llm must be given.")
    return name


def _config(feature: str, node: Node) -> Config:
    if isinstance(node.value, str):
        return Config(feature, node, (Spec(node, {}, name=node),), LMI)
    if is_one_config(node.value):
        return Config(feature, node, _specs(node), LMI)
    node.report("wrong", f"is no config that LMI reads. {_FITS}")
    return Config(feature, node, (), LMI)


def _specs(node: Node) -> tuple[Spec, ...]:
    entries = node.entries()
    if "models" in entries:
        return _typed(node, entries)
    if "name" in entries and "model_list" not in entries:
        return (_flat(node, entries),)
    return router(node, entries)


def _typed(node: Node, entries: dict[str, Node]) -> tuple[Spec, ...]:
    models = entries.pop("models")
    if entries.pop("model_list", None):
        node.report("wrong", "holds both `models` and `model_list`. Keep one of them.")
    for key, other in entries.items():
        if key in SIBLINGS:
            other.report("dropped", SIBLINGS[key])
        else:
            other.report("wrong", f"is no key of a config. {did_you_mean(key, ['models'])}")
    if models.value == []:
        models.report("wrong", "is empty: a chain has one model at least.")
    return tuple(spec for model in models.elements() if (spec := _spec(model.apart())))


def _spec(node: Node) -> Spec | None:
    entries = node.entries()
    if not node.is_mapping:
        return None
    spec = take_spec(node, entries)
    for key, other in entries.items():
        fix = "Write it under extra_params." if key in NAMES else did_you_mean(key, SPEC_KEYS)
        other.report("wrong", f"is no key of a model. {fix}")
    return spec


def _flat(node: Node, entries: dict[str, Node]) -> Spec:
    spec = take_spec(node, entries)
    for key in sorted(entries.keys() & spec.params.keys()):
        entries.pop(key).report("dropped", f"{spec.params[key].path} goes over it, as in LMI.")
    for key in sorted(entries.keys() & DUMPS.keys()):
        entries.pop(key).report("wrong", DUMPS[key])
    return replace(spec, params={**entries, **spec.params})
