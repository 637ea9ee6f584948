"""Canonical JSON: exactly one text per value, so that a hash of the text identifies the value."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

DEEPEST: Final = 100
"""The deepest nesting of JSON that is accepted: the lowest bound of any library that reads it."""
_HALVES: Final = re.compile("[\ud800-\udfff]")
_encoded: Final = json.JSONEncoder(separators=(",", ":"), sort_keys=True, allow_nan=False).encode


def to_canonical_json(value: Any) -> str:
    """Serialize ``value`` as canonical JSON, in which each value has exactly one text.

    The text is ASCII, with sorted keys and without whitespace.

    Raises:
        ValueError: ``value`` contains NaN, an infinity or itself, or is nested deeper than `DEEPEST`.
        TypeError: ``value`` contains a type that JSON does not have.
    """
    try:
        text = _encoded(value)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if _is_too_deep(value):
        raise ValueError("nested too deep")
    return text


def sha256_of_json(*parts: Any) -> str:
    """Hash ``parts`` with SHA-256, after serializing them as canonical JSON. Returns the hash in hexadecimal."""
    return hashlib.sha256(to_canonical_json(parts).encode()).hexdigest()


def parse_json_object(text: str) -> dict[str, Any]:
    """Parse ``text`` as a JSON object. Duplicate keys and NaN, which Python's parser accepts, are rejected.

    Raises:
        ValueError: ``text`` is not valid JSON, is not an object, has a duplicate key or NaN, or is nested
            deeper than `DEEPEST`.
    """
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if not isinstance(found, dict):
        raise ValueError("it is no object")  # noqa: TRY004 - what came is text
    if _is_too_deep(found):
        raise ValueError("it is nested too deep")
    return found


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [part for item in level for part in _parts(item)]
        if not level:
            return False
    return True


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice in it")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def replace_unstorable_characters(value: Any) -> Any:
    """Copy a JSON value, and replace NUL and lone surrogates in all its texts by U+FFFD.

    Databases reject these characters. Keys and nested values are included.
    """
    match value:
        case str():
            return _storable_text(value)
        case dict():
            return {
                _storable_text(str(name)): replace_unstorable_characters(part) for name, part in value.items()
            }
        case list() | tuple():
            return [replace_unstorable_characters(part) for part in value]
        case _:
            return value


def _storable_text(text: str) -> str:
    if "\0" not in text and (text.isascii() or not _HALVES.search(text)):
        return text
    return _HALVES.sub("\ufffd", text.replace("\0", "\ufffd"))
