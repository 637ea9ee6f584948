"""Assembles the imported features of any system into a table that loads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import tomli_w

from backend.tools.config_import.accounts import read_provider_account
from backend.tools.config_import.kinds import kind_from_model_name
from backend.tools.config_import.names import split_model_name
from backend.tools.config_import.nodes import none_if_null
from backend.tools.config_import.providers import make_imported_providers
from backend.tools.config_import.settings import translate_settings
from backend.tools.config_import.table import (
    PlannedEndpoint,
    build_table,
    make_feature_plan,
    select_embedding_settings,
)
from backend.utils.llm.errors import ConfigError
from backend.utils.llm.model_config import parse_table
from backend.utils.llm.models import find_retirement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from backend.tools.config_import.accounts import Placeholder, ProviderAccount
    from backend.tools.config_import.findings import ImportFinding, ImportReport
    from backend.tools.config_import.nodes import ConfigNode
    from backend.tools.config_import.origins import SourceSystem
    from backend.tools.config_import.providers import ImportedProvider
    from backend.tools.config_import.settings import Wants
    from backend.tools.config_import.specs import ImportedFeature, ModelSpec
    from backend.tools.config_import.table import FeaturePlan

_FALLS_OVER = "`on_refusal` is next: a refusal goes to the next model, as in LMI, but once only."
_FILTERS = "`safety` of Gemini is only_high where nothing is said. LMI did the same for a name, and nothing for `models`."


@dataclass(frozen=True)
class ImportResult:
    """The result of importing a configuration: a table, and the report.

    Attributes:
        table: The table as TOML; None if nothing could be imported, or if there were errors that may not be skipped.
        findings: The messages of the report, in the order in which they are shown.
    """

    table: str | None
    findings: tuple[ImportFinding, ...]


@dataclass(frozen=True)
class ResolvedModel:
    """A model of a feature's chain whose account, name and options have been translated for the table.

    Attributes:
        spec: The model as the input describes it.
        placeholder: What the input has in place of the key, such as a variable or a mask.
        embeds: Whether it is an embedding model.
        dimensions: The length of its embedding vectors; None if not given.
    """

    spec: ModelSpec
    account: ProviderAccount
    placeholder: Placeholder
    model: str
    wants: Wants
    embeds: bool
    dimensions: int | None = None


@dataclass(frozen=True)
class _Chained:
    """A feature with those of its models that can be served."""

    config: ImportedFeature
    targets: tuple[ResolvedModel, ...]


def assemble_table(
    features: Sequence[ImportedFeature], report: ImportReport, heading: str, *, skip_invalid: bool = False
) -> ImportResult:
    """Write imported features as a table in TOML, and report what had to be changed or left out.

    Args:
        features: The features with their models, from any system.
        report: The report so far, to which messages are added.
        heading: The first line of the table, a comment.
        skip_invalid: Whether to leave out models that have errors. If false, any error prevents the table.
    """
    chained = [_Chained(config, _targets(config)) for config in features]
    if skip_invalid:
        chained = _without_wrong(chained)
    text = _written(chained, heading, lenient=skip_invalid)
    if (report.has_errors and not skip_invalid) or not any(item.targets for item in chained):
        return ImportResult(None, report.sorted_findings)
    if not _loads(text, report):
        return ImportResult(None, report.sorted_findings)
    _report_general(chained, report)
    return ImportResult(text, report.sorted_findings)


def _targets(config: ImportedFeature) -> tuple[ResolvedModel, ...]:
    made = tuple(target for spec in config.specs if (target := _target(spec, config.origin)))
    embeds = any(target.embeds for target in made)
    for target in made:
        if target.embeds != embeds:
            target.spec.place.report_finding(
                "wrong", "is a model for chats, in a chain of models for vectors."
            )
    return made


def _target(spec: ModelSpec, origin: SourceSystem) -> ResolvedModel | None:
    name = split_model_name(spec)
    provider, model = name or ("openai", "the model")
    account, placeholder = read_provider_account(spec, provider, model)
    embeds = (spec.kind or kind_from_model_name(model)) == "embedding"
    length = spec.params.get("dimensions") if embeds else None
    params = {key: node for key, node in spec.params.items() if node is not length}
    wants = translate_settings(replace(spec, params=params), account, model, origin)
    if name is None:
        return None
    if embeds and account.api == "anthropic":
        spec.place.report_finding("wrong", "asks for vectors, and Anthropic's API has none.")
    wants = select_embedding_settings(wants) if embeds else wants
    return ResolvedModel(spec, account, placeholder, model, wants, embeds, _dimensions(length))


def _dimensions(node: ConfigNode | None) -> int | None:
    if node is None or node.value is None:
        return None
    if type(node.value) is not int or node.value < 1:
        node.report_finding("wrong", "must be a whole number from 1.")
        return None
    return node.value


# The table --------------------------------------------------------------------------------------------------------


def _without_wrong(chained: Iterable[_Chained]) -> list[_Chained]:
    """``chained`` without models that have errors, checked again until there are none."""
    left = [_good(item) for item in chained]
    while True:
        _document(left, lenient=True)
        kept = [_good(chained) for chained in left]
        if kept == left:
            return left
        left = kept


def _good(one: _Chained) -> _Chained:
    good = tuple(target for target in one.targets if not target.spec.has_errors)
    return replace(one, targets=good)


def _written(chained: Sequence[_Chained], heading: str, *, lenient: bool) -> str:
    table, rows = _document(chained, lenient=lenient)
    for item in chained if lenient else ():
        if item.targets:
            endpoints = ", ".join(f"{rows[target.account].name}:{target.model}" for target in item.targets)
            item.config.place.report_finding("carried", f"is the feature {item.config.feature}: {endpoints}.")
    for target in chain.from_iterable(item.targets for item in chained):
        _report(target, rows[target.account])
    variables = sorted({row.variable for row in rows.values() if row.variable})
    keys = f"# The house's keys are read from {', '.join(variables)}.\n" if variables else ""
    return f"# {heading}\n{keys}\n{tomli_w.dumps(table)}"


def _document(
    chained: Iterable[_Chained], *, lenient: bool
) -> tuple[dict[str, Any], Mapping[ProviderAccount, ImportedProvider]]:
    served = [item for item in chained if item.targets]
    rows = make_imported_providers(target.account for chained in served for target in chained.targets)
    plans = [_plan(chained, rows, lenient=lenient) for chained in served]
    return build_table(plans, {row.name: row.to_row() for row in rows.values()}, drop_conflicts=lenient), rows


def _plan(one: _Chained, rows: Mapping[ProviderAccount, ImportedProvider], *, lenient: bool) -> FeaturePlan:
    config = one.config
    links = [
        PlannedEndpoint(
            target.spec.place,
            f"{rows[target.account].name}:{target.model}",
            target.wants,
            target.spec.group,
            target.spec.weight,
            target.spec.row,
        )
        for target in one.targets
    ]
    about = {"about": config.about} if config.about else {}
    return replace(
        make_feature_plan(config.feature, links, drop_conflicts=lenient),
        row={**about, **dict.fromkeys(config.needs, True)},
        embeds=any(target.embeds for target in one.targets),
        dimensions=next((target.dimensions for target in one.targets if target.dimensions), None),
        refusals_fall_over=config.refusals_fall_over or config.origin.refusals_fall_over,
    )


def _loads(text: str, findings: ImportReport) -> bool:
    try:
        parse_table(text, environ={})
    except ConfigError as error:
        for problem in error.problems:
            findings.add_finding("wrong", "", f"our own fault, please report it: {problem}")
        return False
    return True


# The report -------------------------------------------------------------------------------------------------------


def _report(target: ResolvedModel, row: ImportedProvider) -> None:
    _report_key(target, row)
    if gone := find_retirement(target.model):
        instead = f"; its vendor names {gone.replacement} instead" if gone.replacement else ""
        target.spec.place.report_finding("todo", f"{target.model} is off sale from {gone.day}{instead}.")


def _report_key(target: ResolvedModel, row: ImportedProvider) -> None:
    node, variable = none_if_null(target.spec.api_key), row.variable
    if node is None and target.account.base_url and variable:
        says = f"set {variable} to the key of {row.name}, or take out its api_key_env if it needs none."
        target.spec.place.report_finding("todo", says)
    elif node is not None and target.placeholder == "key":
        node.report_finding("todo", f"set {variable} to this key; a table holds none.")
    elif node is not None and target.placeholder == "mask":
        node.report_finding(
            "todo", f"set {variable} to the key. This is a mask, which stands in a key's place."
        )
    elif node is not None and target.placeholder == "filler":
        node.report_finding(
            "dropped", f"is taken for no key.{f' Set {variable} to one.' if variable else ''}"
        )


def _report_general(chained: Iterable[_Chained], findings: ImportReport) -> None:
    """Add the general findings for readers of any such table, once."""
    served = [item for item in chained if item.targets]
    for origin in dict.fromkeys(chained.config.origin for chained in served):
        own = [chained for chained in served if chained.config.origin == origin]
        falls_over = origin.refusals_fall_over and any(len(chained.targets) > 1 for chained in own)
        unfiltered = origin.refusals_fall_over and any(
            _is_unfiltered(each) for chained in own for each in chained.targets
        )
        notes = (*origin.notes, _FALLS_OVER if falls_over else "", _FILTERS if unfiltered else "")
        for says in filter(None, notes):
            findings.add_finding("changed", "", says)


def _is_unfiltered(target: ResolvedModel) -> bool:
    return target.account.api == "gemini" and "safety_settings" not in target.spec.params
