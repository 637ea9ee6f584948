"""Builds the table to be written: chains, groups, and the settings of features and of endpoints.

A setting that is equal for all models of a feature is written into the feature's row, which overrides
those of endpoints. Other settings are written into the endpoint's row, and so apply to every feature
that does not set them. Two features that need different values for the same endpoint cannot both be
imported.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from backend.tools.config_import.settings import CLOCKS, find_field_maximum
from backend.utils.llm.cached import cached_property
from backend.utils.llm.model_config.schema import FeatureRow
from backend.utils.llm.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from backend.tools.config_import.nodes import ConfigNode
    from backend.tools.config_import.settings import Wants
    from backend.tools.config_import.specs import ModelGroup

_ROW_KEYS = ("attempts", "api_mode")
_OPEN = {"api_mode": "chat"}
"""What holds where nobody says anything."""
_SAID_AS = {"attempts": "max_retries", "api_mode": "responses_api"}


@dataclass(frozen=True)
class PlannedEndpoint:
    """An endpoint in a feature's chain of the table to be written, with the feature's settings for the endpoint.

    Attributes:
        place: The model's entry in the input, for the report.
        endpoint: The endpoint, as ``provider:model``.
        wants: The settings: options, ``attempts`` and ``api_mode``.
        group: The group that the endpoint belongs to; None if it stands in the chain by itself.
        weight: How often the endpoint is chosen, relative to others in its group; None if not given.
        row: Further fields of the endpoint's row, such as prices.
    """

    place: ConfigNode
    endpoint: str
    wants: Wants
    group: ModelGroup | None = None
    weight: int | None = None
    row: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """The model of the endpoint, without the provider."""
        return self.endpoint.partition(":")[2]


@dataclass(frozen=True)
class FeaturePlan:
    """A feature of the table to be written, with its chain of endpoints.

    Attributes:
        links: The endpoints, in the order of calling.
        row: Fields of the feature's row, except for the settings of its endpoints.
        embeds: Whether the feature makes embeddings.
        dimensions: The length of the embedding vectors; None for the model's default.
        refusals_fall_over: Whether the next endpoint is called after a refusal.
    """

    feature: str
    links: tuple[PlannedEndpoint, ...]
    row: Mapping[str, Any] = field(default_factory=dict)
    embeds: bool = False
    dimensions: int | None = None
    refusals_fall_over: bool = False

    @cached_property
    def shared_settings(self) -> Wants:
        """The settings to write into the feature's row, which apply to all its endpoints.

        These are the options that are equal for all endpoints, and the most frequent number of attempts.
        """
        first, *others = (link.wants for link in self.links)
        options = {
            key: value
            for key, value in first.items()
            if key not in _ROW_KEYS and all(wants.get(key) == value for wants in others)
        }
        counts = Counter(link.wants["attempts"] for link in self.links if "attempts" in link.wants)
        return {**options, "attempts": counts.most_common(1)[0][0]} if counts else options

    def endpoint_settings(self, planned_endpoint: PlannedEndpoint) -> Wants:
        """Get the settings for the endpoint's row: those that differ from the feature's row and from the defaults."""
        settled = {**_OPEN, **self.shared_settings}
        return {key: value for key, value in planned_endpoint.wants.items() if settled.get(key) != value}

    def applies_endpoint_setting(self, key: str) -> bool:
        """Whether the setting ``key`` of an endpoint's row takes effect in this feature.

        False if the feature's row sets ``key`` itself, which has precedence.
        """
        return key in _ROW_KEYS or key not in self.shared_settings


def make_feature_plan(
    feature: str, planned_endpoints: Iterable[PlannedEndpoint], *, drop_conflicts: bool = False
) -> FeaturePlan:
    """Plan a feature of the table from its chain.

    An endpoint that the chain or a group has twice is kept once, and reported.

    Args:
        feature: The name of the feature.
        planned_endpoints: The chain of the feature.
        drop_conflicts: Whether to keep the first settings if the repeated endpoint has different settings. If
            false, that is an error.
    """
    first: dict[tuple[ModelGroup | None, str], PlannedEndpoint] = {}
    for link in planned_endpoints:
        kept = first.setdefault((link.group, link.endpoint), link)
        if kept is not link:
            _tell_repeat(link, kept, lenient=drop_conflicts)
    return FeaturePlan(feature, tuple(first.values()))


def _tell_repeat(link: PlannedEndpoint, kept: PlannedEndpoint, *, lenient: bool) -> None:
    keys = link.wants.keys() | kept.wants.keys()
    differ = sorted(_SAID_AS.get(key, key) for key in keys if link.wants.get(key) != kept.wants.get(key))
    where = f"is {link.endpoint}, as {kept.place.path} is"
    if differ:
        link.place.report_finding(
            "dropped" if lenient else "wrong", f"{where}, with another {', '.join(differ)}. Keep one of them."
        )
    else:
        link.place.report_finding("dropped", f"{where}: once is enough.")


def build_table(
    plans: Iterable[FeaturePlan], providers: dict[str, dict[str, Any]], *, drop_conflicts: bool = False
) -> dict[str, Any]:
    """Build the whole table as nested dicts, ready to be written as TOML.

    Args:
        plans: The features of the table.
        providers: The providers' rows by name.
        drop_conflicts: Whether to leave out settings of an endpoint for which features need different values.
            If false, that is an error.
    """
    plans = [plan for plan in plans if plan.links]
    _check_vectors(plans)
    rows = {"groups": _groups(plans), "models": _model_rows(plans, lenient=drop_conflicts)}
    table = {
        "profile": "premium",
        "byok_profile": "byok",
        "providers": providers,
        "profiles": {
            "premium": {plan.feature: _chain(plan) for plan in plans},
            "byok": {"extends": "premium"},
        },
        "features": {plan.feature: _feature_row(plan) for plan in plans},
    }
    return table | {key: row for key, row in rows.items() if row}


def _chain(plan: FeaturePlan) -> str | list[str]:
    links = list(dict.fromkeys(name for link in plan.links for name in [_link(plan, link)]))
    return links if len(links) > 1 else links[0]


def _link(plan: FeaturePlan, link: PlannedEndpoint) -> str:
    grouped = link.group is not None and _is_choice(plan, link.group)
    return f"group:{link.group.name}" if grouped and link.group else link.endpoint


def _is_choice(plan: FeaturePlan, group: ModelGroup) -> bool:
    """Whether the group has more than one endpoint."""
    return sum(link.group == group for link in plan.links) > 1


def _groups(plans: Iterable[FeaturePlan]) -> dict[str, Any]:
    """The groups of all chains. A group of several features has the same models in each."""
    rows: dict[str, Any] = {}
    for plan in plans:
        for group, found in groupby(plan.links, key=lambda link: link.group):
            links = list(found)
            if group is not None and len(links) > 1:
                rows.setdefault(group.name, _group_row(group, links))
    return rows


def _group_row(group: ModelGroup, links: list[PlannedEndpoint]) -> dict[str, Any]:
    weights = {link.endpoint: link.weight for link in links if link.weight is not None}
    select = {"by": "weighted", "weights": weights} if weights else group.select
    return {"endpoints": [link.endpoint for link in links]} | (
        {} if select == "ordered" else {"select": select}
    )


def _check_vectors(plans: Iterable[FeaturePlan]) -> None:
    """Report the links whose vectors cannot be compared with those of the first."""
    for plan in plans:
        if not plan.embeds:
            continue
        first, *others = plan.links
        for link in others:
            if link.model != first.model:
                says = f"gives other vectors than {first.model}: what is stored could not be compared. Keep one of them."
                link.place.report_finding("wrong", says)


def _feature_row(plan: FeaturePlan) -> dict[str, Any]:
    """The feature's row, whose limits leave room for all attempts of the original system."""
    wants = [link.wants for link in plan.links]
    row = {**plan.row, **_row(plan.shared_settings)}
    if plan.embeds:
        length = {"dimensions": plan.dimensions} if plan.dimensions else {}
        row = {"embedding": {"model": plan.links[0].model, **length}, **row}
    if any("timeout" in wanted for wanted in wants):
        row["deadline"] = _short(min(_seconds(wants), find_field_maximum(FeatureRow, "deadline")))
    requests = sum(_attempts(wanted) for wanted in wants)
    if requests > FeatureRow.model_fields["max_attempts"].default:
        row["max_attempts"] = int(min(requests, find_field_maximum(FeatureRow, "max_attempts")))
    if len(wants) > 1 and plan.refusals_fall_over:
        row["on_refusal"] = "next"
    return row


def _seconds(wants: Iterable[Wants]) -> float:
    usual: float = Options.model_fields["timeout"].default
    return float(sum(_attempts(wanted) * wanted.get("timeout", usual) for wanted in wants))


def _attempts(wanted: Wants) -> int:
    return int(wanted.get("attempts", FeatureRow.model_fields["attempts"].default))


def _row(wants: Wants) -> dict[str, Any]:
    limits = {key: wants[key] for key in _ROW_KEYS if key in wants}
    options = {key: _short(value) for key, value in sorted(wants.items()) if key not in _ROW_KEYS}
    return {**limits, "options": options} if options else limits


def _short(value: Any) -> Any:
    """A whole number without its decimal point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


# Endpoints --------------------------------------------------------------------------------------------------------


def _model_rows(plans: Iterable[FeaturePlan], *, lenient: bool) -> dict[str, Any]:
    uses: dict[str, list[tuple[FeaturePlan, PlannedEndpoint]]] = defaultdict(list)
    for plan in plans:
        for link in plan.links:
            uses[link.endpoint].append((plan, link))
    rows = {
        endpoint: {**_more(link for _, link in used), **_row(_endpoint_wants(used, lenient=lenient))}
        for endpoint, used in uses.items()
    }
    return {endpoint: row for endpoint, row in rows.items() if row}


def _more(links: Iterable[PlannedEndpoint]) -> dict[str, Any]:
    """The other fields of an endpoint's row. Limits and prices are written where the endpoint first appears."""
    row: dict[str, Any] = {}
    for link in links:
        row = {**link.row, **row}
    return row


def _endpoint_wants(uses: list[tuple[FeaturePlan, PlannedEndpoint]], *, lenient: bool) -> Wants:
    """The settings of one endpoint's row; features that differ get a finding."""
    wants: Wants = {}
    for plan, link in uses:
        wants = {**plan.endpoint_settings(link), **wants}
    agreed = {
        key: _agree(key, [link for plan, link in uses if plan.applies_endpoint_setting(key)], lenient=lenient)
        for key in sorted(wants)
    }
    return {key: value for key, value in wants.items() if agreed[key] or not lenient}


def _agree(key: str, links: list[PlannedEndpoint], *, lenient: bool) -> bool:
    """Whether all links have the same value of ``key``; reports those that differ."""
    first, *others = links
    differ = [link for link in others if _wanted(link, key) != _wanted(first, key)]
    for link in differ:
        wanted, before = _wanted(link, key), _wanted(first, key)
        says = (
            f"wants {key} {wanted} of {link.endpoint}, and {first.place.path} wants {before}. One endpoint has one "
            "for all features that leave it open: "
        )
        if lenient:
            link.place.report_finding(
                "dropped", f"{says}the row has none. Give it to the call, or to a whole feature."
            )
        else:
            setting = _SAID_AS.get(key, key)
            link.place.report_finding(
                "wrong", f"{says}give both the same {setting}, or all models of one feature the same."
            )
    return not differ


def _wanted(link: PlannedEndpoint, key: str) -> object:
    return link.wants.get(key, _OPEN.get(key, "unset"))


def select_embedding_settings(settings: Wants) -> Wants:
    """Select from ``settings`` those that also apply to embedding requests: timeouts and attempts."""
    return {key: value for key, value in settings.items() if key in CLOCKS or key == "attempts"}
