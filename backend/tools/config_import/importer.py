"""Imports a file of LMI, LiteLLM or TensorZero as a table that loads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, get_args

from backend.tools.config_import.assembly import ImportResult, assemble_table
from backend.tools.config_import.findings import ImportReport, quote_for_report
from backend.tools.config_import.litellm_proxy import PROXY_MARKS, read_litellm_features
from backend.tools.config_import.nodes import ConfigNode
from backend.tools.config_import.origins import LITELLM, LMI, TENSORZERO
from backend.tools.config_import.reading import UnusableInputError, read_config_file
from backend.tools.config_import.shapes import (
    LMI_MARKS,
    is_single_feature_config,
    read_lmi_features,
    to_feature_name,
)
from backend.tools.config_import.tensorzero import read_tensorzero_features

if TYPE_CHECKING:
    from pathlib import Path

    from backend.tools.config_import.specs import ImportedFeature

System = Literal["lmi", "litellm", "tensorzero"]
SYSTEMS: tuple[System, ...] = get_args(System)

_READERS: dict[System, Callable[[ConfigNode, str], list[ImportedFeature]]] = {
    "lmi": read_lmi_features,
    "litellm": lambda document, _: read_litellm_features(document),
    "tensorzero": lambda document, _: read_tensorzero_features(document),
}
_TITLES = {"lmi": LMI.title, "litellm": LITELLM.title, "tensorzero": TENSORZERO.title}
_EITHER = (
    "a file with only model_list is read as LiteLLM's proxy reads it: each model_name is a feature. "
    "`--as lmi` makes one chain of it, as LMI does."
)


def import_file(
    path: Path, *, feature: str | None = None, system: System | None = None, skip_invalid: bool = False
) -> ImportResult:
    """Import a configuration of another system from a JSON, TOML or YAML file.

    Args:
        path: The file.
        feature: The name of the feature, for a file with a single feature; None to use the file's name.
        system: The system that the file is for; None to recognise it by the file's keys.
        skip_invalid: Whether to leave out models that have errors. If false, any error prevents the table.

    Raises:
        UnusableInputError: The file cannot be read, or ``feature`` is invalid, or is given although the file
            names its features.
    """
    return import_config(
        read_config_file(path), source=path.name, feature=feature, system=system, skip_invalid=skip_invalid
    )


def import_config(
    value: object,
    *,
    source: str,
    feature: str | None = None,
    system: System | None = None,
    skip_invalid: bool = False,
) -> ImportResult:
    """Import a configuration of another system that is already parsed. See `import_file`.

    Args:
        value: The configuration, as parsed from JSON, TOML or YAML.
        source: The name of its file, for the table's heading and for the default name of the feature.
        feature: The name of the feature, for a configuration with a single feature; None to use ``source``.
        system: The system that the configuration is for; None to recognise it by its keys.
        skip_invalid: Whether to leave out models that have errors. If false, any error prevents the table.

    Raises:
        UnusableInputError: ``feature`` is invalid, or is given although the configuration names its features.
    """
    system_name = system or detect_system(value) or "lmi"
    _check_feature(value, feature, system_name)
    findings = ImportReport()
    if system is None and system_name == "litellm" and not _is_proxys(value):
        findings.add_finding("guessed", "", _EITHER)
    named = read_imported_features(ConfigNode(value, "", findings), source, system_name, feature)
    heading = (
        f"Imported from {ascii(source)[1:-1]}, a configuration of {_TITLES[system_name]}. "
        "`python -m backend import-config` told what is not in it."
    )
    return assemble_table(named, findings, heading, skip_invalid=skip_invalid)


def read_imported_features(
    document: ConfigNode, source: str, system: System, feature: str | None = None
) -> list[ImportedFeature]:
    """Read the features from ``document``, a configuration of ``system``.

    Args:
        document: The configuration.
        source: The name of the configuration's file.
        system: The system that the configuration is for.
        feature: The name for a configuration's single feature; None to name it after ``source``.
    """
    return _READERS[system](document, feature or to_feature_name(source.rpartition(".")[0] or source))


def detect_system(value: object) -> System | None:
    """Recognise by its keys which system's configuration ``value`` is; None if it is none that can be imported."""
    if not isinstance(value, Mapping):
        return "lmi" if isinstance(value, str) else None
    if _is_tensorzeros(value):
        return "tensorzero"
    if _is_proxys(value) or ("model_list" in value and not any(mark in value for mark in LMI_MARKS)):
        return "litellm"
    return "lmi" if is_single_feature_config(value) else None


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
    if feature != to_feature_name(feature):
        raise UnusableInputError(
            f"--feature {quote_for_report(feature)}: a feature is named by a-z, 0-9 and _, with a letter first."
        )
    if system != "lmi" or not is_single_feature_config(value):
        raise UnusableInputError(
            f"--feature {feature}: the file does not hold one config, but names its features."
        )
