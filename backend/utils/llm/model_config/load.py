"""Reads a table, applies overrides and the environment, and resolves it, or reports every problem.

Layers, lowest first: defaults, the file, stored overrides, the environment. No network calls, and no SDK is imported.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from ..errors import ConfigError
from ..problems import TableProblems
from ..secrets import find_key_problem
from .aliases import AliasResolver
from .clouds import find_cloud_key_problem
from .document import parse_toml, read_table_file
from .resolve import FEATURE_OVERRIDE, PROFILE_OVERRIDE, TableResolver
from .rows import validate_rows
from .snapshot import FeatureMap, TableSnapshot
from .state_server import STATE_SECRET, STATE_URL, read_state_server

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .overrides import Override
    from .snapshot import Provider

_SHORTEST_KEY = 12
"""Characters of a key that is looked for in the table: what is shorter is a word."""
DEFAULT_PATH = Path(__file__).parents[3] / "llm.toml"


def load_table(path: Path | None = None, *, environ: Mapping[str, str] | None = None) -> TableSnapshot:
    """Read the table at ``path``, apply the environment ``environ``, and resolve it into a snapshot.

    Args:
        path: The file; by default the one that `find_table_path` finds.
        environ: Variables to read keys and overrides from; by default the process's own.

    Raises:
        ConfigError: The table is wrong. The error holds every problem, not only the first.
    """
    path = path or find_table_path(environ)
    return parse_table(read_table_file(path), environ=environ, source=path)


def parse_table(
    text: str,
    *,
    environ: Mapping[str, str] | None = None,
    source: Path | None = None,
    overrides: Sequence[Override] = (),
) -> TableSnapshot:
    """Resolve the ``text`` of a table into a snapshot, with stored ``overrides`` and the environment applied.

    If there are several overrides for a feature, the last one applies.

    Args:
        text: The table, in TOML.
        environ: Variables to read keys and overrides from; by default the process's own.
        source: The file of the text, for error messages; None without a file.
        overrides: The stored overrides, the oldest first.

    Raises:
        ConfigError: The table is wrong. The error holds every problem, not only the first.
    """
    environ = _environment(environ)
    layer = f"file {source.name}" if source else "text"
    problems = TableProblems()
    aliases = AliasResolver(document := parse_toml(text, source), layer, problems)
    environ = aliases.resolve_environment(environ, FEATURE_OVERRIDE)
    rows, stored = (
        validate_rows(aliases.document, layer, problems),
        [aliases.resolve_override(override) for override in overrides],
    )
    table = TableResolver(rows, environ, layer, problems, stored)
    server = read_state_server(rows.head.state_url, environ, layer, problems)
    keys = _house_keys(table.providers, environ, problems)
    _check_holds_no_key(
        document,
        [environ[name] for name in _variables(table.providers) if environ.get(name)],
        layer,
        problems,
    )
    if problems.messages:
        raise ConfigError(problems.messages)
    return TableSnapshot(
        profile=table.profile,
        profile_layer=table.profile_layer,
        byok_profile=table.byok_profile,
        demo=table.demo,
        providers=table.providers,
        features=FeatureMap(table.features, {name: table.make_group_feature(name) for name in table.groups}),
        chains=table.chains,
        groups=table.groups,
        hash=_hash(document, environ, keys, overrides),
        source=source,
        house_keys=keys,
        private_networks=rows.head.private_networks,
        aliases=aliases.names,
        overrides=tuple(overrides),
        disabled=table.disabled,
        budgets=table.budgets,
        step_down_to=table.step_down_to,
        state_server=server,
    )


def find_table_path(environ: Mapping[str, str] | None = None) -> Path:
    """The path of the table: the value of ``LLM_CONFIG`` in the environment, or else `DEFAULT_PATH`."""
    named = _environment(environ).get("LLM_CONFIG", "").strip()
    return Path(named) if named else DEFAULT_PATH


def _environment(environ: Mapping[str, str] | None) -> Mapping[str, str]:
    return os.environ if environ is None else environ  # noqa: TID251 - the one reader of the facade's environment


def _house_keys(
    providers: Mapping[str, Provider], environ: Mapping[str, str], problems: TableProblems
) -> dict[str, SecretStr]:
    keys = {}
    for host, account in (
        (provider.host, account) for provider in providers.values() for account in provider.accounts
    ):
        if account.api_key_env in {STATE_URL, STATE_SECRET}:
            problems.add(account.api_key_env, "is no provider's key", layer="environment")
            continue
        value = environ.get(account.api_key_env, "").strip()
        if value and (problem := find_key_problem(value)):
            problems.add(account.api_key_env, problem, layer="environment")
        elif fault := find_cloud_key_problem(host, value):
            problems.add(account.api_key_env, fault[0], layer="environment", fix=fault[1])
        elif value:
            keys[account.slot] = SecretStr(value)
    return keys


def _variables(providers: Mapping[str, Provider]) -> Iterator[str]:
    return (name for provider in providers.values() for name in provider.api_key_envs)


def _check_holds_no_key(
    document: Mapping[str, Any], secrets: Iterable[str], layer: str, problems: TableProblems
) -> None:
    """Check that ``document`` contains no key: more people can read a file than a variable, and its values are shown."""
    keys = [key for secret in secrets if len(key := secret.strip()) >= _SHORTEST_KEY]
    todo: list[tuple[str, Any]] = list(document.items())
    while todo:
        path, value = todo.pop()
        if isinstance(value, dict):
            todo.extend((f"{path}.{name}", part) for name, part in value.items())
        elif isinstance(value, list):
            todo.extend((f"{path}.{number}", part) for number, part in enumerate(value))
        elif isinstance(value, str) and any(key in value for key in keys):
            problems.add(path, "holds a key of the house", layer=layer, fix="It stands in its variable only.")


def _hash(
    document: Mapping[str, Any],
    environ: Mapping[str, str],
    keyed: Mapping[str, SecretStr],
    stored: Iterable[Override],
) -> str:
    """The hash of the file, the overrides and the names of providers with a key; never of a key."""
    variables = {
        name: value
        for name, value in environ.items()
        if name.startswith((PROFILE_OVERRIDE, FEATURE_OVERRIDE))
    }
    laid_over = [[override.id, override.subject, override.links] for override in stored]
    parts = [document, variables, sorted(keyed), *([laid_over] if laid_over else [])]
    effective = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(effective.encode()).hexdigest()[:12]
