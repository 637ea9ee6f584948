"""Reads JSON, TOML and YAML files.

A parser's message may quote the file, which may contain secrets, so errors say only where the file is
invalid.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

import yaml

from backend.tools.config_import.findings import looks_like_api_key, quote_for_report

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class UnusableInputError(ValueError):
    """There is nothing that could be imported: no file, an unknown format, or an invalid feature name."""


def read_config_file(path: Path) -> object:
    """Read and parse a JSON, TOML or YAML file. The format follows from the file name's suffix.

    Raises:
        UnusableInputError: The file cannot be read or parsed, or a mapping has a key twice. The message says
            where.
    """
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        raise UnusableInputError(f"{path}: a file is named .json, .toml, .yaml or .yml, after its format.")
    try:
        return parse(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UnusableInputError(f"{path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UnusableInputError(f"{path}: is not UTF-8 text.") from None
    except _TwiceError as error:
        raise UnusableInputError(f"{path}: {error}") from None
    except RecursionError:
        raise UnusableInputError(f"{path}: is nested too deeply.") from None
    except (ValueError, yaml.YAMLError) as error:
        kind = path.suffix[1:].upper()
        raise UnusableInputError(f"{path}: is not {kind}{_place(error)}.") from None


class _TwiceError(ValueError):
    def __init__(self, key: str) -> None:
        named = "a key" if looks_like_api_key(key) else f"the key {quote_for_report(key)}"
        super().__init__(f"{named} stands twice in one mapping, and only one of them can hold.")


def _json(text: str) -> object:
    return json.loads(text, object_pairs_hook=_pairs)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _check_once([key for key, _ in pairs])
    return dict(pairs)


def _yaml(text: str) -> object:
    _check_mappings(yaml.compose(text, Loader=yaml.SafeLoader))
    return yaml.safe_load(text)


def _check_mappings(root: Any) -> None:
    """Refuse equal keys in one mapping, of which PyYAML silently keeps the last."""
    seen: set[int] = set()
    left = [root]
    while left:
        node = left.pop()
        if id(node) not in seen:
            seen.add(id(node))
            left += _children(node)


def _children(node: Any) -> list[Any]:
    if isinstance(node, yaml.MappingNode):
        _check_once([key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)])
        return [value for _, value in node.value]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _check_once(keys: list[str]) -> None:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise _TwiceError(key)
        seen.add(key)


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f" (at line {mark.line + 1}, column {mark.column + 1})"
    if isinstance(error, json.JSONDecodeError):
        return f" (at line {error.lineno}, column {error.colno})"
    found = re.search(r"\(at line \d+, column \d+\)$", str(error))
    return f" {found[0]}" if found else ""


_PARSERS: dict[str, Callable[[str], object]] = {
    ".json": _json,
    ".toml": tomllib.loads,
    ".yaml": _yaml,
    ".yml": _yaml,
}
