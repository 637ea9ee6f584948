"""The arguments of litellm's Router, in the order in which LMI makes a chain of them.

The first model, its fallbacks, then every model that was not named yet. litellm spreads calls over models of the same
name; LMI keeps only the last of them, and we keep all, as a group.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.tools.config_import.advice import SIBLINGS
from backend.tools.config_import.findings import shown
from backend.tools.config_import.nodes import Node, unless_null
from backend.tools.config_import.specs import Spec
from backend.utils.llm.problems import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_NO_USE = "is not imported: LMI has no use for it either."


@dataclass(frozen=True)
class Deployment:
    """An entry of ``model_list``, the models that litellm's Router chooses from."""

    name: str
    spec: Spec


def router(place: Node, entries: dict[str, Node]) -> tuple[Spec, ...]:
    """The models that LMI calls one after the other for these arguments of litellm's Router."""
    models, fallbacks = entries.pop("model_list", None), unless_null(entries.pop("fallbacks", None))
    defaults = _defaults(unless_null(entries.pop("router_kwargs", None)))
    for key, node in entries.items():
        node.report("dropped", SIBLINGS.get(key, _NO_USE))
    deployments = [made for node in _listed(place, models) if (made := _deployment(node.apart(), defaults))]
    groups = _groups(deployments)
    listed = _fallbacks(fallbacks, groups, deployments[0].name if deployments else "")
    return tuple(made.spec for name in _order(groups, listed) for made in groups[name])


def _listed(place: Node, models: Node | None) -> tuple[Node, ...]:
    if models is None:
        place.report("wrong", "has no model_list, which holds the models.")
        return ()
    if models.value == []:
        models.report("wrong", "is empty: a chain has one model at least.")
    return models.elements()


def _defaults(node: Node | None) -> dict[str, Node | None]:
    """The Router's defaults for every model, by a spec's names; other entries are dropped."""
    entries = node.entries() if node else {}
    defaults = {
        "timeout": _timeout(entries.pop("timeout", None)),
        "max_retries": unless_null(entries.pop("num_retries", None)),
    }
    for key, other in entries.items():
        other.report("dropped", SIBLINGS.get(key, _NO_USE))
    return defaults


# Models -----------------------------------------------------------------------------------------------------------


def _deployment(node: Node, defaults: Mapping[str, Node | None]) -> Deployment | None:
    entries = node.entries()
    name, params = (_required(node, entries, key) for key in ("model_name", "litellm_params"))
    for key, other in entries.items():
        other.report("dropped", SIBLINGS.get(key, _NO_USE))
    if params is None:
        return None
    return Deployment((name and name.text()) or node.path, _spec(params, defaults))


def _required(place: Node, entries: dict[str, Node], key: str) -> Node | None:
    node = unless_null(entries.pop(key, None))
    if node is None and place.is_mapping:
        place.report("wrong", f"has no {key}.")
    return node


def _spec(node: Node, defaults: Mapping[str, Node | None]) -> Spec:
    entries = node.entries()
    own = {
        key: unless_null(entries.pop(key, None)) for key in ("api_base", "api_key", "max_retries", "model")
    }
    timeout = _timeout(entries.pop("timeout", None))
    return Spec(
        node,
        entries,
        name=own["model"],
        api_base=own["api_base"],
        api_key=own["api_key"],
        timeout=timeout or defaults["timeout"],
        max_retries=own["max_retries"] or defaults["max_retries"],
    )


def _timeout(node: Node | None) -> Node | None:
    """``node``, unless it is null, which LMI takes for absent here."""
    if node is not None and node.value is None:
        node.report("changed", "null is no value here: LMI goes on to the next one, at last to 60.")
    return unless_null(node)


def _groups(deployments: Iterable[Deployment]) -> dict[str, list[Deployment]]:
    groups: dict[str, list[Deployment]] = defaultdict(list)
    for made in deployments:
        if groups[made.name]:
            first = groups[made.name][0].spec.place.path
            says = f"shares its model_name with {first}. LMI keeps the last; here they follow one another."
            made.spec.place.report("changed", says)
        groups[made.name].append(made)
    return dict(groups)


# Order ------------------------------------------------------------------------------------------------------------


def _order(groups: Mapping[str, object], fallbacks: Iterable[str]) -> list[str]:
    """The first model, its fallbacks, then the others in their order."""
    first = list(groups)[:1]
    return list(dict.fromkeys([*first, *fallbacks, *groups]))


def _fallbacks(node: Node | None, groups: Mapping[str, object], first: str) -> list[str]:
    """The names of the fallbacks of ``first``. LMI ignores the fallbacks of other models."""
    entries = [pair for element in (node.elements() if node else ()) for pair in element.entries().items()]
    chosen: list[Node] = []
    for key, listed in entries:
        names = list(_names(listed, groups))
        if key not in groups:
            listed.report("wrong", _unknown(key, groups))
        elif key != first:
            listed.report(
                "dropped", f"LMI follows the fallbacks of its first model only, which is {shown(first)}."
            )
        else:
            _replace(chosen, names, listed)
    return _once(first, chosen)


def _replace(chosen: list[Node], names: list[Node], listed: Node) -> None:
    if chosen:
        listed.report("changed", "goes over an earlier list for the same model, as in LMI.")
    chosen[:] = names


def _names(listed: Node, groups: Mapping[str, object]) -> Iterator[Node]:
    for node in listed.elements():
        name = node.text()
        if name is not None and name not in groups:
            node.report("wrong", _unknown(name, groups))
        elif name is not None:
            yield node


def _once(first: str, nodes: Iterable[Node]) -> list[str]:
    names: list[str] = []
    for node in nodes:
        name = node.text() or ""
        if name in {first, *names}:
            node.report("dropped", "stands in the chain already.")
        else:
            names.append(name)
    return names


def _unknown(name: str, known: Iterable[str]) -> str:
    return f"there is no model_name {shown(name)} in model_list. {did_you_mean(name, known)}".rstrip()
