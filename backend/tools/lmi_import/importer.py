"""Imports a file of LMI as a table that loads."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import tomli_w

from backend.tools.lmi_import.accounts import account_of
from backend.tools.lmi_import.findings import Finding, Findings, shown
from backend.tools.lmi_import.names import name_of
from backend.tools.lmi_import.nodes import Node, given
from backend.tools.lmi_import.providers import providers
from backend.tools.lmi_import.reading import UnusableInputError, read
from backend.tools.lmi_import.settings import wants_of
from backend.tools.lmi_import.shapes import configs, identifier, is_one_config
from backend.tools.lmi_import.table import Link, document, plan
from backend.utils.llm.errors import ConfigError
from backend.utils.llm.model_config import parse
from backend.utils.llm.models import retirement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from backend.tools.lmi_import.accounts import Account, Placeholder
    from backend.tools.lmi_import.providers import Provider
    from backend.tools.lmi_import.settings import Wants
    from backend.tools.lmi_import.specs import Spec

_GENERAL = (
    "`attempts` is the number of requests sent. LMI sent up to three times as many: OpenAI's SDK retried below it.",
    "`timeout` is for a whole attempt; LMI's was for the time between two bytes.",
    "`deadline` is what all attempts may take together; LMI had none. Choose a shorter one.",
)
_FALLS_OVER = "`on_refusal` is next: a refusal goes to the next model, as in LMI, but once only."
_FILTERS = "`safety` of Gemini is only_high where nothing is said. LMI did the same for a name, and nothing for `models`."


@dataclass(frozen=True)
class Import:
    """The result of importing a configuration.

    Attributes:
        table: The table as TOML; None if anything is wrong.
        findings: What to know about it, what is wrong first.
    """

    table: str | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Target:
    """One model of a chain, resolved: its account, its name and its options.

    Attributes:
        placeholder: What stood in the place of its key.
    """

    spec: Spec
    account: Account
    placeholder: Placeholder
    model: str
    wants: Wants


def import_file(path: Path, *, feature: str | None = None) -> Import:
    """Import the configuration in a JSON, TOML or YAML file.

    Args:
        path: The file.
        feature: The feature of a file that holds one config; by default the file's name says it.

    Raises:
        UnusableInputError: If the file cannot be read, or ``feature`` cannot name what it holds.
    """
    return import_config(read(path), source=path.name, feature=feature)


def import_config(value: object, *, source: str, feature: str | None = None) -> Import:
    """Like `import_file`, for a configuration that is already in memory; ``source`` is the file's name."""
    _check_feature(value, feature)
    findings = Findings()
    named = configs(Node(value, "", findings), feature or identifier(source.rpartition(".")[0] or source))
    targets = {config.feature: _targets(config.specs) for config in named}
    rows = providers(target.account for target in chain(*targets.values()))
    for target in chain(*targets.values()):
        _report(target, rows[target.account])
    plans = [plan(feature, _links(chained, rows)) for feature, chained in targets.items()]
    table = document(plans, {row.name: row.row() for row in rows.values()})
    text = _comment(source, rows.values()) + tomli_w.dumps(table)
    if not _is_good(text, findings):
        return Import(None, findings.all)
    _report_general(targets.values(), findings)
    return Import(text, findings.all)


def _check_feature(value: object, feature: str | None) -> None:
    if feature is None:
        return
    if feature != identifier(feature):
        raise UnusableInputError(
            f"--feature {shown(feature)}: a feature is named by a-z, 0-9 and _, with a letter first."
        )
    if not is_one_config(value):
        raise UnusableInputError(
            f"--feature {feature}: the file does not hold one config, but names its features."
        )


def _targets(specs: Iterable[Spec]) -> list[Target]:
    return [target for spec in specs if (target := _target(spec))]


def _target(spec: Spec) -> Target | None:
    name = name_of(spec)
    provider, model = name or ("openai", "the model")
    account, placeholder = account_of(spec, provider)
    wants = wants_of(spec, account, model)
    return Target(spec, account, placeholder, model, wants) if name else None


def _links(targets: Iterable[Target], rows: Mapping[Account, Provider]) -> list[Link]:
    return [
        Link(target.spec.place, f"{rows[target.account].name}:{target.model}", target.wants)
        for target in targets
    ]


# The result -------------------------------------------------------------------------------------------------------


def _comment(source: str, rows: Iterable[Provider]) -> str:
    variables = sorted({row.variable for row in rows if row.variable})
    keys = f"# The house's keys are read from {', '.join(variables)}.\n" if variables else ""
    return (
        f"# Imported from {ascii(source)[1:-1]}, a configuration of LMI. `python -m backend import-config` told what "
        f"is not in it.\n{keys}\n"
    )


def _is_good(text: str, findings: Findings) -> bool:
    """Whether nothing is wrong, and the table loads."""
    if findings.any_wrong:
        return False
    try:
        parse(text, environ={})
    except ConfigError as error:
        for problem in error.problems:
            findings.add("wrong", "", f"our own fault, please report it: {problem}")
    return not findings.any_wrong


# The report -------------------------------------------------------------------------------------------------------


def _report(target: Target, row: Provider) -> None:
    _report_key(target, row)
    if gone := retirement(target.model):
        instead = f"; its vendor names {gone.replacement} instead" if gone.replacement else ""
        target.spec.place.report("todo", f"{target.model} is off sale from {gone.day}{instead}.")


def _report_key(target: Target, row: Provider) -> None:
    node, variable = given(target.spec.api_key), row.variable
    if node is None and target.account.base_url and variable:
        says = f"set {variable} to the key of {row.name}, or take out its api_key_env if it needs none."
        target.spec.place.report("todo", says)
    elif node is not None and target.placeholder == "key":
        node.report("todo", f"set {variable} to this key; a table holds none.")
    elif node is not None and target.placeholder == "mask":
        node.report("todo", f"set {variable} to the key. This is a mask, which LMI writes in a key's place.")
    elif node is not None and target.placeholder == "filler":
        node.report("dropped", f"is taken for no key.{f' Set {variable} to one.' if variable else ''}")


def _report_general(chains: Iterable[list[Target]], findings: Findings) -> None:
    """Add what a reader of any such table should know, once."""
    chains = list(chains)
    targets = list(chain(*chains))
    notes = (
        *_GENERAL,
        _FALLS_OVER if any(len(chained) > 1 for chained in chains) else "",
        _FILTERS if any(_is_unfiltered(target) for target in targets) else "",
    )
    for says in filter(None, notes):
        findings.add("changed", "", says)


def _is_unfiltered(target: Target) -> bool:
    return target.account.api == "gemini" and "safety_settings" not in target.spec.params
