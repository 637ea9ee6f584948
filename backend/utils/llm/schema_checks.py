"""Validates a value against a JSON Schema that was passed as a dictionary: by the keywords for structure and bounds.

`pattern` and `format` are left to the provider: on untrusted text a regular expression may run for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .schema_dialects import read_schema_definitions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MOST_STEPS: Final = 100
"""The most comparisons for each part of a value, on average: nested ``anyOf`` could take exponentially many."""
_LEAST_STEPS: Final = 1000

_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "array": lambda value: isinstance(value, list),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and value == value // 1,
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
}
_LIMITS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "minimum": lambda value, limit: not _is_number(value) or value >= limit,
    "maximum": lambda value, limit: not _is_number(value) or value <= limit,
    "exclusiveMinimum": lambda value, limit: not _is_number(value) or value > limit,
    "exclusiveMaximum": lambda value, limit: not _is_number(value) or value < limit,
    "minLength": lambda value, limit: not isinstance(value, str) or len(value) >= limit,
    "maxLength": lambda value, limit: not isinstance(value, str) or len(value) <= limit,
    "minItems": lambda value, limit: not isinstance(value, list) or len(value) >= limit,
    "maxItems": lambda value, limit: not isinstance(value, list) or len(value) <= limit,
}


def find_schema_violation(value: Any, schema: dict[str, Any]) -> str | None:
    """Describe the first place where ``value`` violates the JSON Schema ``schema``; None if ``value`` is valid.

    The text is for an error, and quotes no value.
    """
    return next(_Check(schema, _LEAST_STEPS + MOST_STEPS * _size(value)).faults(value, schema, ()), None)


class _Check:
    """The check of one value against one schema, in a limited number of steps."""

    def __init__(self, schema: dict[str, Any], most_steps: int) -> None:
        self._definitions = {
            f"#/{word}/{name}": part
            for word in ("$defs", "definitions")
            for name, part in read_schema_definitions(schema).items()
        }
        self._definitions["#"] = schema
        self._left = most_steps

    def faults(self, value: Any, node: Any, path: tuple[str, ...]) -> Iterator[str]:
        """The faults of ``value``, which is at ``path``."""
        self._left -= 1
        if self._left < 0:
            yield f"{_at(path)}: too much to test"
        elif isinstance(node, dict):
            if "$ref" in node:
                yield from self.faults(value, self._definitions.get(str(node["$ref"])), path)
            yield from self._faults_of_shape(value, node, path)
            yield from _faults_of_value(value, node, path)
            if isinstance(value, dict):
                yield from self._faults_in_object(value, node, path)
            elif isinstance(value, list):
                yield from self._faults_in_list(value, node, path)

    def _faults_of_shape(self, value: Any, node: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
        for part in _as_array(node.get("allOf")):
            yield from self.faults(value, part, path)
        for word in ("anyOf", "oneOf"):
            choices = _as_array(node.get(word))
            if choices and not any(
                next(self.faults(value, choice, path), None) is None for choice in choices
            ):
                yield f"{_at(path)}: none of {len(choices)} choices"

    def _faults_in_object(
        self, value: dict[str, Any], node: Mapping[str, Any], path: tuple[str, ...]
    ) -> Iterator[str]:
        declared, others = node.get("properties"), node.get("additionalProperties")
        properties = declared if isinstance(declared, dict) else {}
        for name in _as_array(node.get("required")):
            if str(name) not in value:
                yield f"{_at((*path, str(name)))}: missing"
        for name, part in value.items():
            if name in properties:
                yield from self.faults(part, properties[name], (*path, name))
            elif others is False and "patternProperties" not in node:
                yield f"{_at(path)}: a key that is not allowed"
            else:
                yield from self.faults(part, others, (*path, "*"))

    def _faults_in_list(
        self, value: list[Any], node: Mapping[str, Any], path: tuple[str, ...]
    ) -> Iterator[str]:
        places, items = _as_array(node.get("prefixItems")), node.get("items")
        for number, part in enumerate(value):
            rule = places[number] if number < len(places) else items
            yield from self.faults(part, rule, (*path, str(number)))


def _faults_of_value(value: Any, node: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    kinds = node.get("type")
    types = kinds if isinstance(kinds, list) else [kinds]
    known = [kind for kind in map(str, types) if kind in _TYPES]
    if known and not any(_TYPES[kind](value) for kind in known):
        yield f"{_at(path)}: not {' or '.join(known)}"
    if "const" in node and not _same(value, node["const"]):
        yield f"{_at(path)}: not the one value"
    choices = node.get("enum")
    if isinstance(choices, list) and not any(_same(value, choice) for choice in choices):
        yield f"{_at(path)}: none of {len(choices)} values"
    for word, is_kept in _LIMITS.items():
        if _is_number(node.get(word)) and not is_kept(value, node[word]):
            yield f"{_at(path)}: beyond {word}"


def _size(value: Any) -> int:
    """The number of values in ``value``, itself included."""
    count, todo = 0, [value]
    while todo:
        one = todo.pop()
        count += 1
        if isinstance(one, dict | list):
            todo.extend(one.values() if isinstance(one, dict) else one)
    return count


def _at(path: tuple[str, ...]) -> str:
    return ".".join(path) or "answer"


def _as_array(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_number(value: Any) -> bool:
    return _TYPES["number"](value)


def _same(value: Any, other: Any) -> bool:
    """Whether both are equal in JSON, in which true is not 1."""
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)
