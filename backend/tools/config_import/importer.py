"""Imports a file of LMI, LiteLLM or TensorZero as a table that loads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, get_args

from backend.tools.config_import.assembly import Import, assemble
from backend.tools.config_import.findings import Findings, shown
from backend.tools.config_import.litellm_proxy import PROXY_MARKS, deployments
from backend.tools.config_import.nodes import Node
from backend.tools.config_import.origins import LITELLM, LMI, TENSORZERO
from backend.tools.config_import.reading import UnusableInputError, read
from backend.tools.config_import.shapes import LMI_MARKS, configs, identifier, is_one_config
from backend.tools.config_import.tensorzero import functions

if TYPE_CHECKING:
    from pathlib import Path

    from backend.tools.config_import.specs import Config

System = Literal["lmi", "litellm", "tensorzero"]
SYSTEMS: tuple[System, ...] = get_args(System)

_READERS: dict[System, Callable[[Node, str], list[Config]]] = {
    "lmi": configs,
    "litellm": lambda document, _: deployments(document),
    "tensorzero": lambda document, _: functions(document),
}
_TITLES = {"lmi": LMI.title, "litellm": LITELLM.title, "tensorzero": TENSORZERO.title}
_EITHER = (
    "a file with only model_list is read as LiteLLM's proxy reads it: each model_name is a feature. "
    "`--as lmi` makes one chain of it, as LMI does."
)


def import_file(
    path: Path, *, feature: str | None = None, system: System | None = None, partly: bool = False
) -> Import:
    """Import the configuration in a JSON, TOML or YAML file.

    Args:
        path: The file.
        feature: The feature of a file with one config; by default the file's name.
        system: The system of the configuration; by default, recognised by its keys.
        partly: Leave out what is wrong; else there is no table if anything is.

    Raises:
        UnusableInputError: The file cannot be read, or ``feature`` is no name for its content.
    """
    return import_config(read(path), source=path.name, feature=feature, system=system, partly=partly)


def import_config(
    value: object,
    *,
    source: str,
    feature: str | None = None,
    system: System | None = None,
    partly: bool = False,
) -> Import:
    """Like `import_file`, for a configuration in memory; ``source`` is the file's name."""
    told = system or system_of(value) or "lmi"
    _check_feature(value, feature, told)
    findings = Findings()
    if system is None and told == "litellm" and not _is_proxys(value):
        findings.add("guessed", "", _EITHER)
    named = read_configs(Node(value, "", findings), source, told, feature)
    heading = (
        f"Imported from {ascii(source)[1:-1]}, a configuration of {_TITLES[told]}. "
        "`python -m backend import-config` told what is not in it."
    )
    return assemble(named, findings, heading, leave_out=partly)


def read_configs(document: Node, source: str, system: System, feature: str | None = None) -> list[Config]:
    """Read the features in ``document``, which is a configuration of ``system``."""
    return _READERS[system](document, feature or identifier(source.rpartition(".")[0] or source))


def system_of(value: object) -> System | None:
    """Recognise the system that ``value`` is a configuration of by its keys; None if it looks like none of them."""
    if not isinstance(value, Mapping):
        return "lmi" if isinstance(value, str) else None
    if _is_tensorzeros(value):
        return "tensorzero"
    if _is_proxys(value) or ("model_list" in value and not any(mark in value for mark in LMI_MARKS)):
        return "litellm"
    return "lmi" if is_one_config(value) else None


def _is_proxys(value: object) -> bool:
    return isinstance(value, Mapping) and any(mark in value for mark in PROXY_MARKS)


def _is_tensorzeros(value: Mapping[object, object]) -> bool:
    functions_, models = value.get("functions"), value.get("models")
    named = [*(functions_.values() if isinstance(functions_, Mapping) else ())]
    named += [*(models.values() if isinstance(models, Mapping) else ())]
    marks = {"variants", "routing"}
    return any(isinstance(row, Mapping) and marks & row.keys() for row in named)


def _check_feature(value: object, feature: str | None, system: System) -> None:
    if feature is None:
        return
    if feature != identifier(feature):
        raise UnusableInputError(
            f"--feature {shown(feature)}: a feature is named by a-z, 0-9 and _, with a letter first."
        )
    if system != "lmi" or not is_one_config(value):
        raise UnusableInputError(
            f"--feature {feature}: the file does not hold one config, but names its features."
        )
