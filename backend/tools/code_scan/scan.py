"""Makes a first table of the models in a code base, with a report on each row's source and on what was left out."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from backend.tools.code_scan.features import make_imported_feature
from backend.tools.code_scan.modules import UnparsableFileError, parse_module
from backend.tools.code_scan.sites import (
    find_model_creation_sites,
    find_model_subclasses,
    find_router_calls,
    find_vendor_sdk_calls,
)
from backend.tools.code_scan.sources import find_source_files
from backend.tools.code_scan.values import CodeBase
from backend.tools.config_import import (
    ConfigNode,
    ImportReport,
    ImportResult,
    ModelGroup,
    UnknownValue,
    UnusableInputError,
    assemble_table,
    detect_system,
    read_config_file,
    read_imported_features,
    read_litellm_features,
    to_feature_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from backend.tools.code_scan.modules import ParsedModule
    from backend.tools.config_import import ImportedFeature

_HEADING = "A first table, of what `python -m backend init` found in the code."
_NOTHING = (
    "nothing here asks a model in a way that is known: see docs/how-to/coming-from.md for what is looked for."
)
_SDK = (
    "is a call of the vendor's own client. Ask get_llm(FEATURE) in its place, or let the client ask this service: "
    "see docs/how-to/http-api.md."
)
_KEYS = re.compile(
    r"(?<![A-Za-z0-9-])(?=[\w-]*\d)(?:(?:sk-|gsk_|hf_|xai-|pplx-|ghp_|github_pat_|AKIA)[\w-]{12,}|AIza[\w-]{16,})"
)
"""Keys, as vendors write them; there is a figure in each."""
_KEY = "a key stands in the code. Revoke it, and put a new one into the variable that the table names."


def scan_code_base(folder: Path) -> ImportResult:
    """Make a table of the models that a code base uses, without running any code.

    Reads its Python files, and its configuration files of LiteLLM and TensorZero.

    Raises:
        UnusableInputError: ``folder`` does not exist.
    """
    if not folder.is_dir():
        raise UnusableInputError(f"There is no folder {folder}.")
    findings, found = ImportReport(), find_source_files(folder)
    for name in (*found.large, *found.notebooks):
        findings.add_finding("dropped", name, "is not read: it is a notebook, or larger than a megabyte.")
    modules = [module for name, path in found.python.items() if (module := _parsed(name, path, findings))]
    documents = [_document(name, path, findings) for name, path in found.configs.items()]
    names = _Names()
    configs = [
        *_of_code(CodeBase(modules), modules, names, findings),
        *(config for document in documents for config in names.apart(document)),
    ]
    if not configs:
        findings.add_finding("todo", "", _NOTHING)
    return assemble_table(configs, findings, _HEADING, skip_invalid=True)


def _parsed(name: str, path: Path, findings: ImportReport) -> ParsedModule | None:
    try:
        return parse_module(name, path)
    except UnparsableFileError as error:
        findings.add_finding("dropped", name, f"is not read: {error}.")
        return None


def _document(name: str, path: Path, findings: ImportReport) -> list[ImportedFeature]:
    """The features of a configuration file of LiteLLM or TensorZero."""
    try:
        value = read_config_file(path)
    except UnusableInputError as error:
        findings.add_finding("dropped", name, f"is not read: {str(error).removeprefix(f'{path}: ')}")
        return []
    system = detect_system(value)
    if system not in {"litellm", "tensorzero"}:
        return []
    named = read_imported_features(ConfigNode(value, name, findings), path.name, system)
    return [replace(config, about=config.place.path) for config in named]


# Python -----------------------------------------------------------------------------------------------------------


def _of_code(
    project: CodeBase, modules: Iterable[ParsedModule], names: _Names, findings: ImportReport
) -> Iterator[ImportedFeature]:
    own = find_model_subclasses(modules)
    for module in modules:
        _tell_keys(module, findings)
        for call in find_vendor_sdk_calls(module):
            findings.add_finding("dropped", module.location(call), _SDK)
        found = sorted(
            find_model_creation_sites(module, project, own), key=lambda site: getattr(site.node, "lineno", 0)
        )
        for site in found:
            yield make_imported_feature(site, names.free(site.words), project, findings)
        for call in find_router_calls(module):
            yield from names.apart(_router(call, module, project, findings))


def _tell_keys(module: ParsedModule, findings: ImportReport) -> None:
    """Report every key in the code of ``module``, by its line, and mask it everywhere."""
    for node in module.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for key in _KEYS.findall(node.value):
                findings.mask_secret(key)
                findings.add_finding("todo", module.location(node), _KEY)


def _router(
    call: ast.Call, module: ParsedModule, project: CodeBase, findings: ImportReport
) -> list[ImportedFeature]:
    """The features of a Router of LiteLLM's, whose arguments correspond to a proxy's file."""
    arguments = {
        keyword.arg: project.evaluate_expression(keyword.value, module).value
        for keyword in call.keywords
        if keyword.arg
    }
    place = module.location(call)
    named = read_litellm_features(ConfigNode(_without_unknown(arguments), place, findings))
    return [replace(config, about=place) for config in named]


def _without_unknown(arguments: Mapping[str, object]) -> dict[str, Any]:
    """``arguments`` without keys that are known only when the code runs: a table names a variable."""
    return {key: _inner(key, value) for key, value in arguments.items()}


def _inner(key: str, value: object) -> object:
    if isinstance(value, dict):
        return _without_unknown(value)
    if isinstance(value, list):
        return [_inner(key, item) for item in value]
    return None if isinstance(value, UnknownValue) and key == "api_key" else value


class _Names:
    """Names of features and groups, each given once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def free(self, words: Iterable[str]) -> str:
        """The first of ``words`` that is free, as a feature's name; else the first with a number."""
        wanted = [to_feature_name(word) for word in words] or ["model"]
        return self._take(next((name for name in wanted if name not in self._taken), wanted[0]))

    def apart(self, configs: list[ImportedFeature]) -> list[ImportedFeature]:
        """``configs`` of one source, renamed where their names are taken."""
        groups = {spec.group.name for config in configs for spec in config.specs if spec.group}
        renamed = {name: self._take(name) for name in sorted(groups)}
        return [
            replace(
                config,
                feature=self._feature(config.feature, renamed),
                specs=tuple(
                    replace(spec, group=ModelGroup(renamed[spec.group.name], spec.group.select))
                    if spec.group
                    else spec
                    for spec in config.specs
                ),
            )
            for config in configs
        ]

    def _feature(self, name: str, renamed: Mapping[str, str]) -> str:
        return renamed.get(name) or self._take(name)

    def _take(self, name: str) -> str:
        found, number = name, 1
        while found in self._taken:
            number += 1
            found = f"{name}_{number}"
        self._taken.add(found)
        return found
