"""LiteLLM's proxy and Router: each model_name becomes a feature with a group of its models.

Fallbacks are followed as LiteLLM does: also the fallbacks of a fallback, each once.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from backend.tools.config_import.advice import STRATEGIES, advice_for_litellm_setting
from backend.tools.config_import.findings import quote_for_report
from backend.tools.config_import.litellm_models import ProxyDeployment, read_deployment
from backend.tools.config_import.nodes import ConfigNode, none_if_null
from backend.tools.config_import.origins import LITELLM
from backend.tools.config_import.shapes import to_feature_name
from backend.tools.config_import.specs import ImportedFeature, ModelGroup, ModelSpec
from backend.tools.config_import.weights import to_integer_weights
from backend.utils.llm.problems import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_SECTIONS = ("litellm_settings", "router_settings")
PROXY_MARKS = (*_SECTIONS, "general_settings", "environment_variables", "credential_list")
"""Keys beside a list of models that only the proxy reads."""
_LISTS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
_ALL_LISTS = (*_LISTS, "default_fallbacks")
_CLOCKS = {
    "max_retries": "retries",
    "num_retries": "retries",
    "request_timeout": "timeout",
    "stream_timeout": "first_chunk",
    "timeout": "timeout",
}
_ANY = "*"
_OF_LISTS = {
    "context_window_fallbacks": "follows in the chain, so it is asked after other failures, too. A prompt that is too "
    "long skips what it does not fit.",
    "content_policy_fallbacks": "follows in the chain, so it is asked after other failures, too; `on_refusal` is next.",
}


@dataclass
class _Settings:
    """The settings for all models, from the file's sections.

    Attributes:
        usual: The default timeouts and retries of models.
        select: The strategy that chooses among models of one name.
        fallbacks: The fallbacks of each model_name, in each of LiteLLM's lists.
        everywhere: The fallbacks of every model_name.
        aliases: A further name to the model_name whose models are asked; fallbacks are those of the further name.
        renames: A name to the one that LiteLLM reads in its place, also for fallbacks.
    """

    usual: dict[str, ConfigNode] = field(default_factory=dict)
    select: str = "weighted"
    fallbacks: dict[str, dict[str, list[ConfigNode]]] = field(default_factory=lambda: defaultdict(dict))
    everywhere: list[ConfigNode] = field(default_factory=list)
    aliases: dict[str, ConfigNode] = field(default_factory=dict)
    renames: dict[str, ConfigNode] = field(default_factory=dict)


def read_litellm_features(document: ConfigNode) -> list[ImportedFeature]:
    """Read the features from a LiteLLM proxy's configuration, or from the arguments of a LiteLLM ``Router``.

    Each ``model_name`` is a feature.
    """
    entries = document.read_entries()
    listed, credentials = entries.pop("model_list", None), _credentials(entries.pop("credential_list", None))
    settings = _settings(entries)
    named = _named(document, listed, credentials, settings)
    return _configs(named, settings)


# Settings ---------------------------------------------------------------------------------------------------------


def _settings(entries: dict[str, ConfigNode]) -> _Settings:
    settings = _Settings()
    # A Router's own arguments stand beside its list; the router's section goes over the library's.
    sections = [node.read_entries() for name in _SECTIONS if (node := none_if_null(entries.pop(name, None)))]
    _drop_replaced(*sections, entries)
    for section in (*sections, entries):
        for key in list(section):
            if _take(settings, key, section[key]):
                del section[key]
    for section in (*sections, entries):
        for key, node in section.items():
            _tell(key, node)
    return settings


def _drop_replaced(*sections: dict[str, ConfigNode]) -> None:
    """Drop settings that a later section replaces: LiteLLM does not join lists of fallbacks."""
    replacing: dict[str, str] = {}
    for section in reversed(sections):
        found = {
            key: _CLOCKS.get(key, key)
            for key, node in section.items()
            if key in (*_ALL_LISTS, *_CLOCKS, "routing_strategy") and _is_set(key, node)
        }
        for key, meaning in found.items():
            if meaning in replacing:
                says = f"is not used: another section has {replacing[meaning]}, too, which holds."
                section.pop(key).report_finding("dropped", says)
        replacing = {meaning: key for key, meaning in found.items()} | replacing


def _is_set(key: str, node: ConfigNode) -> bool:
    """Whether a value says anything. An empty list of fallbacks is as none."""
    return node.value is not None and not (key in _ALL_LISTS and node.value in ([], ()))


def _take(settings: _Settings, key: str, node: ConfigNode) -> bool:
    """Store the setting ``key``, if a table can have it."""
    if not _is_set(key, node):
        return True
    if key in _CLOCKS:
        settings.usual[_CLOCKS[key]] = node
    elif key == "routing_strategy":
        settings.select = _strategy(node)
    elif key in _LISTS:
        _note_fallbacks(settings, key, node)
    elif key == "default_fallbacks":
        settings.everywhere = [*_texts(node.read_elements())]
    elif key == "model_group_alias":
        settings.aliases.update(_aliases(node))
    elif key == "model_alias_map":
        settings.renames.update(_aliases(node))
    else:
        return False
    return True


def _tell(key: str, node: ConfigNode) -> None:
    if key == "include":
        node.report_finding(
            "wrong", "names other files, which are not followed. Import each of them, or write them into one."
        )
    else:
        node.report_finding("dropped", advice_for_litellm_setting(key))


def _strategy(node: ConfigNode) -> str:
    name = node.read_text() or ""
    select = STRATEGIES.get(name)
    if select is None:
        node.report_finding(
            "dropped", f"{quote_for_report(name)} is no strategy here; they are chosen in turn. See `select`."
        )
    elif select != "weighted":
        node.report_finding("changed", f'is `select = "{select}"` here.')
    return select or "weighted"


def _note_fallbacks(settings: _Settings, key: str, node: ConfigNode) -> None:
    for element in node.read_elements():
        for name, listed in element.read_entries().items():
            follow = [*_texts(listed.read_elements())]
            if name == _ANY:
                settings.everywhere = follow
            else:
                settings.fallbacks[key][name] = follow


def _texts(nodes: Iterable[ConfigNode]) -> Iterator[ConfigNode]:
    return (node for node in nodes if node.read_text() is not None)


def _aliases(node: ConfigNode) -> dict[str, ConfigNode]:
    """The model_name of each alias. Aliases that are hidden from lists of models count, too."""
    found: dict[str, ConfigNode] = {}
    for name, other in node.read_entries().items():
        entries = other.read_entries() if other.is_mapping else {"model": other}
        target = none_if_null(entries.pop("model", None))
        if target is not None and target.read_text() is not None:
            found[name] = target
        elif target is None:
            other.report_finding("wrong", "names no model.")
    return found


def _credentials(node: ConfigNode | None) -> dict[str, dict[str, ConfigNode]]:
    """The values of each named credential."""
    found: dict[str, dict[str, ConfigNode]] = {}
    for element in node.read_elements() if node and node.value is not None else ():
        entries = element.read_entries()
        name, values = (
            none_if_null(entries.get("credential_name")),
            none_if_null(entries.get("credential_values")),
        )
        if name is not None and values is not None and (text := name.read_text()):
            found[text] = values.read_entries()
    return found


# Models -----------------------------------------------------------------------------------------------------------


def _named(
    document: ConfigNode,
    listed: ConfigNode | None,
    credentials: Mapping[str, dict[str, ConfigNode]],
    settings: _Settings,
) -> dict[str, list[ProxyDeployment]]:
    """The models of each model_name."""
    if listed is None or not listed.value:
        (listed or document).report_finding("wrong", "has no model_list, which holds the models.")
        return {}
    named: dict[str, list[ProxyDeployment]] = defaultdict(list)
    for node in listed.read_elements():
        if made := read_deployment(node.with_subreport(), credentials):
            named[made.name].append(made)
    return {name: _grouped(name, made, settings) for name, made in named.items()}


def _grouped(name: str, made: list[ProxyDeployment], settings: _Settings) -> list[ProxyDeployment]:
    """``made`` as one group; models without own settings get the general ones."""
    ordered = sorted(made, key=lambda deployment: deployment.order)
    select = "ordered" if ordered[0].order != ordered[-1].order else settings.select
    asked = _asked(ordered, select)
    weights = _weights(asked) if select == "weighted" and len(asked) > 1 else [None] * len(asked)
    group = ModelGroup(to_feature_name(name), select)
    return [
        replace(deployment, spec=_completed(deployment.spec, group, weight, settings.usual))
        for deployment, weight in zip(asked, weights, strict=True)
    ]


def _asked(made: list[ProxyDeployment], select: str) -> list[ProxyDeployment]:
    """The deployments in ``made`` that can be chosen; unused weights are reported."""
    asked = made
    if select == "weighted" and any(deployment.weight for deployment in made):
        asked = [deployment for deployment in made if deployment.weight != 0]
    for deployment in made:
        if deployment not in asked:
            deployment.place.report_finding("dropped", "has the weight 0: it was never chosen.")
        elif deployment.weight is not None and (select != "weighted" or len(made) == 1):
            deployment.place.report_finding("dropped", "has a weight, and is not chosen by weights.")
    return asked


def _weights(made: list[ProxyDeployment]) -> Sequence[int | None]:
    """The relative frequency of each deployment, by weights or else by limits; None without either."""
    shares = (
        [deployment.weight for deployment in made]
        if any(deployment.weight for deployment in made)
        else [deployment.rate for deployment in made]
    )
    return to_integer_weights([share or 1 for share in shares]) if any(shares) else [None] * len(made)


def _completed(
    spec: ModelSpec, group: ModelGroup, weight: int | None, usual: Mapping[str, ConfigNode]
) -> ModelSpec:
    return replace(
        spec,
        timeout=spec.timeout or usual.get("timeout"),
        first_chunk=spec.first_chunk or usual.get("first_chunk"),
        max_retries=spec.max_retries or usual.get("retries"),
        group=group,
        weight=weight,
    )


# Features ---------------------------------------------------------------------------------------------------------


def _configs(named: Mapping[str, list[ProxyDeployment]], settings: _Settings) -> list[ImportedFeature]:
    _check_names(named, settings)
    configs: dict[str, ImportedFeature] = {}
    for name in dict.fromkeys((*named, *settings.aliases, *settings.renames)):
        asked = _target(name, settings.renames)
        target = settings.renames.get(name) or settings.aliases.get(name)
        if target is not None and name in named:
            target.report_finding(
                "changed", f"goes before the models named {quote_for_report(name)}, which are not asked."
            )
        if not (models := named.get(_target(asked, settings.aliases))):
            continue
        place = target or models[0].place
        config = _config(to_feature_name(name), place, asked, named, settings)
        if config.feature in configs:
            place.report_finding(
                "wrong", f"is the feature {config.feature} here, as another model_name is. Rename one."
            )
        elif config.feature != name and not models[0].spec.has_errors:
            place.report_finding("changed", f"{quote_for_report(name)} is the feature {config.feature} here.")
        configs.setdefault(config.feature, config)
    return list(configs.values())


def _config(
    feature: str,
    place: ConfigNode,
    asked: str,
    named: Mapping[str, list[ProxyDeployment]],
    settings: _Settings,
) -> ImportedFeature:
    names = (asked, *_followed(asked, settings, {asked}))
    first, *others = dict.fromkeys(_target(name, settings.aliases) for name in names)
    embeds = _embeds(named[first])
    follow = [other for other in others if embeds == _embeds(named.get(other, []))]
    specs = [deployment.spec for each in (first, *follow) for deployment in named.get(each, [])]
    policy = asked in settings.fallbacks["content_policy_fallbacks"]
    return ImportedFeature(feature, place, tuple(specs), LITELLM, refusals_fall_over=policy)


def _target(name: str, aliases: Mapping[str, ConfigNode]) -> str:
    """What ``name`` stands for in ``aliases``; itself if it is none of them."""
    return aliases[name].read_text() or "" if name in aliases else name


def _embeds(models: Iterable[ProxyDeployment]) -> bool:
    return any(model.is_embedding for model in models)


def _followed(name: str, settings: _Settings, seen: set[str]) -> Iterator[str]:
    """The names that are asked after ``name``, in order: its fallbacks and theirs, those for long prompts, those for refusals."""
    listed = [node for key in _LISTS for node in settings.fallbacks[key].get(name, ())]
    for node in (*listed, *settings.everywhere):
        follower = _target(node.read_text() or "", settings.renames)
        if follower not in seen:
            seen.add(follower)
            yield follower
            yield from _followed(follower, settings, seen)


def _check_names(named: Mapping[str, object], settings: _Settings) -> None:
    """Report names without a model, and the meaning of lists of fallbacks here."""
    known = {*named, *settings.aliases, *settings.renames}
    for key, lists in settings.fallbacks.items():
        for name, follow in lists.items():
            for node in follow:
                _check_name(node, node.read_text() or "", known)
                if key != "fallbacks":
                    node.report_finding("changed", _OF_LISTS[key])
            if name not in known and follow:
                follow[0].report_finding("wrong", _unknown(name, known))
            elif name in settings.renames and follow:
                follow[0].report_finding(
                    "dropped",
                    f"is not used: {quote_for_report(name)} is replaced before fallbacks are looked up.",
                )
    for node in settings.everywhere:
        _check_name(node, node.read_text() or "", known)
    _check_targets(settings.aliases, {*named}, known)
    _check_targets(settings.renames, {*named, *settings.aliases}, known)


def _check_targets(aliases: Mapping[str, ConfigNode], reached: set[str], known: set[str]) -> None:
    """Report aliases of what is not ``reached``: LiteLLM follows an alias once."""
    for node in aliases.values():
        name = node.read_text() or ""
        if name in known - reached:
            node.report_finding(
                "wrong",
                f"{quote_for_report(name)} is an alias, too, and no alias of one is followed. Name its model.",
            )
        else:
            _check_name(node, name, known)


def _check_name(node: ConfigNode, name: str, known: set[str]) -> None:
    if name not in known:
        node.report_finding("wrong", _unknown(name, known))


def _unknown(name: str, known: Iterable[str]) -> str:
    return (
        f"there is no model_name {quote_for_report(name)} in model_list. {did_you_mean(name, known)}".rstrip()
    )
