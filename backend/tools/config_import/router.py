"""The arguments of litellm's Router, in the order in which LMI makes a chain of them.

The first model, its fallbacks, then every model that was not named yet. litellm spreads calls over models of the same
name; LMI keeps only the last of them, and we keep all, as a group.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.tools.config_import.advice import SIBLINGS
from backend.tools.config_import.findings import quote_for_report
from backend.tools.config_import.nodes import ConfigNode, none_if_null
from backend.tools.config_import.specs import ModelSpec
from backend.utils.llm.problems import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_NO_USE = "is not imported: LMI has no use for it either."


@dataclass(frozen=True)
class RouterDeployment:
    """An entry of ``model_list`` in the arguments of litellm's Router: a model, and its ``model_name``."""

    name: str
    spec: ModelSpec


def read_router_models(config: ConfigNode, router_arguments: dict[str, ConfigNode]) -> tuple[ModelSpec, ...]:
    """Read the chain of models that LMI, an LLM client by Future House, makes from the arguments of litellm's Router.

    Args:
        config: The configuration, for messages about what is missing in it.
        router_arguments: The arguments of the Router.
    """
    models, fallbacks = (
        router_arguments.pop("model_list", None),
        none_if_null(router_arguments.pop("fallbacks", None)),
    )
    defaults = _defaults(none_if_null(router_arguments.pop("router_kwargs", None)))
    for key, node in router_arguments.items():
        node.report_finding("dropped", SIBLINGS.get(key, _NO_USE))
    deployments = [
        made for node in _listed(config, models) if (made := _deployment(node.with_subreport(), defaults))
    ]
    groups = _groups(deployments)
    listed = _fallbacks(fallbacks, groups, deployments[0].name if deployments else "")
    return tuple(made.spec for name in _order(groups, listed) for made in groups[name])


def _listed(place: ConfigNode, models: ConfigNode | None) -> tuple[ConfigNode, ...]:
    if models is None:
        place.report_finding("wrong", "has no model_list, which holds the models.")
        return ()
    if models.value == []:
        models.report_finding("wrong", "is empty: a chain has one model at least.")
    return models.read_elements()


def _defaults(node: ConfigNode | None) -> dict[str, ConfigNode | None]:
    """The Router's defaults for every model, by a spec's names; other entries are dropped."""
    entries = node.read_entries() if node else {}
    defaults = {
        "timeout": _timeout(entries.pop("timeout", None)),
        "max_retries": none_if_null(entries.pop("num_retries", None)),
    }
    for key, other in entries.items():
        other.report_finding("dropped", SIBLINGS.get(key, _NO_USE))
    return defaults


# Models -----------------------------------------------------------------------------------------------------------


def _deployment(node: ConfigNode, defaults: Mapping[str, ConfigNode | None]) -> RouterDeployment | None:
    entries = node.read_entries()
    name, params = (_required(node, entries, key) for key in ("model_name", "litellm_params"))
    for key, other in entries.items():
        other.report_finding("dropped", SIBLINGS.get(key, _NO_USE))
    if params is None:
        return None
    return RouterDeployment((name and name.read_text()) or node.path, _spec(params, defaults))


def _required(place: ConfigNode, entries: dict[str, ConfigNode], key: str) -> ConfigNode | None:
    node = none_if_null(entries.pop(key, None))
    if node is None and place.is_mapping:
        place.report_finding("wrong", f"has no {key}.")
    return node


def _spec(node: ConfigNode, defaults: Mapping[str, ConfigNode | None]) -> ModelSpec:
    entries = node.read_entries()
    own = {
        key: none_if_null(entries.pop(key, None)) for key in ("api_base", "api_key", "max_retries", "model")
    }
    timeout = _timeout(entries.pop("timeout", None))
    return ModelSpec(
        node,
        entries,
        name=own["model"],
        api_base=own["api_base"],
        api_key=own["api_key"],
        timeout=timeout or defaults["timeout"],
        max_retries=own["max_retries"] or defaults["max_retries"],
    )


def _timeout(node: ConfigNode | None) -> ConfigNode | None:
    """``node``, unless it is null, which LMI takes for absent here."""
    if node is not None and node.value is None:
        node.report_finding("changed", "null is no value here: LMI goes on to the next one, at last to 60.")
    return none_if_null(node)


def _groups(deployments: Iterable[RouterDeployment]) -> dict[str, list[RouterDeployment]]:
    groups: dict[str, list[RouterDeployment]] = defaultdict(list)
    for made in deployments:
        if groups[made.name]:
            first = groups[made.name][0].spec.place.path
            says = f"shares its model_name with {first}. LMI keeps the last; here they follow one another."
            made.spec.place.report_finding("changed", says)
        groups[made.name].append(made)
    return dict(groups)


# Order ------------------------------------------------------------------------------------------------------------


def _order(groups: Mapping[str, object], fallbacks: Iterable[str]) -> list[str]:
    """The first model, its fallbacks, then the others in their order."""
    first = list(groups)[:1]
    return list(dict.fromkeys([*first, *fallbacks, *groups]))


def _fallbacks(node: ConfigNode | None, groups: Mapping[str, object], first: str) -> list[str]:
    """The names of the fallbacks of ``first``. LMI ignores the fallbacks of other models."""
    entries = [
        pair for element in (node.read_elements() if node else ()) for pair in element.read_entries().items()
    ]
    chosen: list[ConfigNode] = []
    for key, listed in entries:
        names = list(_names(listed, groups))
        if key not in groups:
            listed.report_finding("wrong", _unknown(key, groups))
        elif key != first:
            listed.report_finding(
                "dropped",
                f"LMI follows the fallbacks of its first model only, which is {quote_for_report(first)}.",
            )
        else:
            _replace(chosen, names, listed)
    return _once(first, chosen)


def _replace(chosen: list[ConfigNode], names: list[ConfigNode], listed: ConfigNode) -> None:
    if chosen:
        listed.report_finding("changed", "goes over an earlier list for the same model, as in LMI.")
    chosen[:] = names


def _names(listed: ConfigNode, groups: Mapping[str, object]) -> Iterator[ConfigNode]:
    for node in listed.read_elements():
        name = node.read_text()
        if name is not None and name not in groups:
            node.report_finding("wrong", _unknown(name, groups))
        elif name is not None:
            yield node


def _once(first: str, nodes: Iterable[ConfigNode]) -> list[str]:
    names: list[str] = []
    for node in nodes:
        name = node.read_text() or ""
        if name in {first, *names}:
            node.report_finding("dropped", "stands in the chain already.")
        else:
            names.append(name)
    return names


def _unknown(name: str, known: Iterable[str]) -> str:
    return (
        f"there is no model_name {quote_for_report(name)} in model_list. {did_you_mean(name, known)}".rstrip()
    )
