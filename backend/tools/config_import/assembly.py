"""Assembles features and chains, from whichever system, into a table that loads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import tomli_w

from backend.tools.config_import.accounts import account_of
from backend.tools.config_import.kinds import kind_of_model
from backend.tools.config_import.names import name_of
from backend.tools.config_import.nodes import unless_null
from backend.tools.config_import.providers import providers
from backend.tools.config_import.settings import wants_of
from backend.tools.config_import.table import Link, document, embedding_settings, plan
from backend.utils.llm.errors import ConfigError
from backend.utils.llm.model_config import parse
from backend.utils.llm.models import retirement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from backend.tools.config_import.accounts import Account, Placeholder
    from backend.tools.config_import.findings import Finding, Findings
    from backend.tools.config_import.nodes import Node
    from backend.tools.config_import.origins import Origin
    from backend.tools.config_import.providers import Provider
    from backend.tools.config_import.settings import Wants
    from backend.tools.config_import.specs import Config, Spec
    from backend.tools.config_import.table import Plan

_FALLS_OVER = "`on_refusal` is next: a refusal goes to the next model, as in LMI, but once only."
_FILTERS = "`safety` of Gemini is only_high where nothing is said. LMI did the same for a name, and nothing for `models`."


@dataclass(frozen=True)
class Import:
    """The result of importing a configuration.

    Attributes:
        table: The table as TOML; None if anything is wrong, or nothing could be imported.
        findings: The findings about the import, errors first.
    """

    table: str | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Target:
    """One resolved model of a chain: its account, its name and its options.

    Attributes:
        placeholder: The text in the input that stands for the key.
        embeds: Whether it is an embedding model.
        dimensions: The length of its vectors; None if not given.
    """

    spec: Spec
    account: Account
    placeholder: Placeholder
    model: str
    wants: Wants
    embeds: bool
    dimensions: int | None = None


@dataclass(frozen=True)
class _Chained:
    """A feature with those of its models that can be served."""

    config: Config
    targets: tuple[Target, ...]


def assemble(
    configs: Sequence[Config], findings: Findings, heading: str, *, leave_out: bool = False
) -> Import:
    """Write the table, as TOML, for features from any system, and report what had to be changed or left out.

    Args:
        configs: Features with their chains, in any order.
        findings: The findings so far, to which new ones are added.
        heading: The table's first line, a comment.
        leave_out: Leave out what is wrong; else there is no table if anything is wrong.
    """
    chained = [_Chained(config, _targets(config)) for config in configs]
    if leave_out:
        chained = _without_wrong(chained)
    text = _written(chained, heading, lenient=leave_out)
    if (findings.any_wrong and not leave_out) or not any(one.targets for one in chained):
        return Import(None, findings.all)
    if not _loads(text, findings):
        return Import(None, findings.all)
    _report_general(chained, findings)
    return Import(text, findings.all)


def _targets(config: Config) -> tuple[Target, ...]:
    made = tuple(target for spec in config.specs if (target := _target(spec, config.origin)))
    embeds = any(target.embeds for target in made)
    for target in made:
        if target.embeds != embeds:
            target.spec.place.report("wrong", "is a model for chats, in a chain of models for vectors.")
    return made


def _target(spec: Spec, origin: Origin) -> Target | None:
    name = name_of(spec)
    provider, model = name or ("openai", "the model")
    account, placeholder = account_of(spec, provider, model)
    embeds = (spec.kind or kind_of_model(model)) == "embedding"
    length = spec.params.get("dimensions") if embeds else None
    params = {key: node for key, node in spec.params.items() if node is not length}
    wants = wants_of(replace(spec, params=params), account, model, origin)
    if name is None:
        return None
    if embeds and account.api == "anthropic":
        spec.place.report("wrong", "asks for vectors, and Anthropic's API has none.")
    wants = embedding_settings(wants) if embeds else wants
    return Target(spec, account, placeholder, model, wants, embeds, _dimensions(length))


def _dimensions(node: Node | None) -> int | None:
    if node is None or node.value is None:
        return None
    if type(node.value) is not int or node.value < 1:
        node.report("wrong", "must be a whole number from 1.")
        return None
    return node.value


# The table --------------------------------------------------------------------------------------------------------


def _without_wrong(chained: Iterable[_Chained]) -> list[_Chained]:
    """``chained`` without models that have errors, checked again until there are none."""
    left = [_good(one) for one in chained]
    while True:
        _document(left, lenient=True)
        kept = [_good(one) for one in left]
        if kept == left:
            return left
        left = kept


def _good(one: _Chained) -> _Chained:
    good = tuple(target for target in one.targets if not target.spec.is_wrong)
    return replace(one, targets=good)


def _written(chained: Sequence[_Chained], heading: str, *, lenient: bool) -> str:
    table, rows = _document(chained, lenient=lenient)
    for one in chained if lenient else ():
        if one.targets:
            endpoints = ", ".join(f"{rows[target.account].name}:{target.model}" for target in one.targets)
            one.config.place.report("carried", f"is the feature {one.config.feature}: {endpoints}.")
    for target in chain.from_iterable(one.targets for one in chained):
        _report(target, rows[target.account])
    variables = sorted({row.variable for row in rows.values() if row.variable})
    keys = f"# The house's keys are read from {', '.join(variables)}.\n" if variables else ""
    return f"# {heading}\n{keys}\n{tomli_w.dumps(table)}"


def _document(
    chained: Iterable[_Chained], *, lenient: bool
) -> tuple[dict[str, Any], Mapping[Account, Provider]]:
    served = [one for one in chained if one.targets]
    rows = providers(target.account for one in served for target in one.targets)
    plans = [_plan(one, rows, lenient=lenient) for one in served]
    return document(plans, {row.name: row.row() for row in rows.values()}, lenient=lenient), rows


def _plan(one: _Chained, rows: Mapping[Account, Provider], *, lenient: bool) -> Plan:
    config = one.config
    links = [
        Link(
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
        plan(config.feature, links, lenient=lenient),
        row={**about, **dict.fromkeys(config.needs, True)},
        embeds=any(target.embeds for target in one.targets),
        dimensions=next((target.dimensions for target in one.targets if target.dimensions), None),
        refusals_fall_over=config.refusals_fall_over or config.origin.refusals_fall_over,
    )


def _loads(text: str, findings: Findings) -> bool:
    try:
        parse(text, environ={})
    except ConfigError as error:
        for problem in error.problems:
            findings.add("wrong", "", f"our own fault, please report it: {problem}")
        return False
    return True


# The report -------------------------------------------------------------------------------------------------------


def _report(target: Target, row: Provider) -> None:
    _report_key(target, row)
    if gone := retirement(target.model):
        instead = f"; its vendor names {gone.replacement} instead" if gone.replacement else ""
        target.spec.place.report("todo", f"{target.model} is off sale from {gone.day}{instead}.")


def _report_key(target: Target, row: Provider) -> None:
    node, variable = unless_null(target.spec.api_key), row.variable
    if node is None and target.account.base_url and variable:
        says = f"set {variable} to the key of {row.name}, or take out its api_key_env if it needs none."
        target.spec.place.report("todo", says)
    elif node is not None and target.placeholder == "key":
        node.report("todo", f"set {variable} to this key; a table holds none.")
    elif node is not None and target.placeholder == "mask":
        node.report("todo", f"set {variable} to the key. This is a mask, which stands in a key's place.")
    elif node is not None and target.placeholder == "filler":
        node.report("dropped", f"is taken for no key.{f' Set {variable} to one.' if variable else ''}")


def _report_general(chained: Iterable[_Chained], findings: Findings) -> None:
    """Add the general findings for readers of any such table, once."""
    served = [one for one in chained if one.targets]
    for origin in dict.fromkeys(one.config.origin for one in served):
        own = [one for one in served if one.config.origin == origin]
        falls_over = origin.refusals_fall_over and any(len(one.targets) > 1 for one in own)
        unfiltered = origin.refusals_fall_over and any(
            _is_unfiltered(each) for one in own for each in one.targets
        )
        notes = (*origin.notes, _FALLS_OVER if falls_over else "", _FILTERS if unfiltered else "")
        for says in filter(None, notes):
            findings.add("changed", "", says)


def _is_unfiltered(target: Target) -> bool:
    return target.account.api == "gemini" and "safety_settings" not in target.spec.params
