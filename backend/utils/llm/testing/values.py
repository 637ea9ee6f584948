"""Makes a JSON value that a JSON schema accepts.

Supported is what structured output and tools use: types, ``$ref``, ``anyOf``/``oneOf``/``allOf``, ``enum``/``const``,
bounds of numbers, texts and arrays, ``format``, and plain ``pattern``; also Gemini's dialect (types in capitals, ``nullable``,
bounds as text). Other keywords are approximated: this is a test double, not a solver.
"""

from __future__ import annotations

import math
import string
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from . import patterns
from .hints import PromptHints

if TYPE_CHECKING:
    from collections.abc import Mapping

Schema: TypeAlias = "Mapping[str, Any] | bool"

_DEEPEST = 24
_FORMATS = {
    "date": "2026-11-02",
    "date-time": "2026-11-02T09:00:00Z",
    "time": "09:00:00Z",
    "duration": "P1D",
    "email": "ada@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def make_value_for_schema(
    schema: Schema, *, hints: PromptHints | None = None, include_optional: bool = True
) -> object:
    """Make a JSON value that fits a JSON schema. Equal arguments give equal values.

    Args:
        schema: The JSON schema, including its ``$defs``.
        hints: Values from the prompt to use where they fit; None for none.
        include_optional: Whether to include properties that are not required.
    """
    root = schema if not isinstance(schema, bool) else {}
    return _Draft(root, hints or PromptHints(), optional=include_optional).value(schema, _Place())


@dataclass(frozen=True, slots=True)
class _Place:
    """A place in the value: the property's name, the index in an array, and the references that led to it."""

    name: str = "text"
    index: int = 0
    depth: int = 0
    within: frozenset[str] = field(default_factory=frozenset)

    def inside(self, *, name: str | None = None, index: int = 0) -> _Place:
        return _Place(name or self.name, index, self.depth + 1, self.within)


@dataclass(frozen=True, slots=True)
class _Draft:
    root: Mapping[str, Any]
    hints: PromptHints
    optional: bool

    def value(self, schema: Schema, place: _Place) -> object:
        rules, place = self._resolved(schema, place)
        if "const" in rules:
            return rules["const"]
        if options := rules.get("enum"):
            return list(options)[place.index % len(options)]
        if branches := rules.get("anyOf") or rules.get("oneOf"):
            rest = {name: rule for name, rule in rules.items() if name not in {"anyOf", "oneOf", "nullable"}}
            return self.value(_merged(rest, self._branch(branches, place)), place)
        return self._typed(rules, place)

    def _resolved(self, schema: Schema, place: _Place) -> tuple[Mapping[str, Any], _Place]:
        """The schema without references and ``allOf``, and the place with the references that were followed."""
        rules: Mapping[str, Any] = {} if isinstance(schema, bool) else schema
        while "$ref" in rules or "allOf" in rules:
            parts: list[Schema] = list(rules.get("allOf") or ())
            rest = {name: rule for name, rule in rules.items() if name not in {"$ref", "allOf"}}
            if reference := rules.get("$ref"):
                place = _Place(place.name, place.index, place.depth + 1, place.within | {reference})
                parts.append(self._lookup(reference) if place.depth < _DEEPEST else {})
            for part in parts:
                rest = _merged(rest, part)
            rules = rest
        return rules, place

    def _lookup(self, reference: str) -> Schema:
        found: Any = self.root
        for step in reference.removeprefix("#").strip("/").split("/"):
            if step:
                found = found[step.replace("~1", "/").replace("~0", "~")]
        return found if isinstance(found, dict) else {}

    def _branch(self, branches: list[Schema], place: _Place) -> Schema:
        """The first branch that is not empty and does not lead back to ``place``."""
        closed = [branch for branch in branches if not self._leads_back(branch, place)]
        telling = [branch for branch in closed if not _is_null(branch)]
        return (telling or closed or branches)[0]

    def _leads_back(self, schema: Schema, place: _Place) -> bool:
        if isinstance(schema, bool):
            return not schema
        if schema.get("$ref") in place.within:
            return True
        branches = schema.get("anyOf") or schema.get("oneOf") or ()
        return any(self._leads_back(part, place) for part in schema.get("allOf") or ()) or (
            bool(branches) and all(self._leads_back(branch, place) for branch in branches)
        )

    def _typed(self, rules: Mapping[str, Any], place: _Place) -> object:
        match _kind(rules):
            case "object":
                return self._object(rules, place)
            case "array":
                return self._array(rules, place)
            case "integer":
                return self._number(rules, place, whole=True)
            case "number":
                return self._number(rules, place, whole=False)
            case "boolean" | "null" as kind:
                return None if kind == "null" else place.index % 2 == 0
            case _:
                return self._text(rules, place)

    def _object(self, rules: Mapping[str, Any], place: _Place) -> dict[str, object]:
        properties: Mapping[str, Schema] = rules.get("properties") or {}
        required = rules.get("required") or ()
        others = rules.get("additionalProperties", True)
        filled = {
            name: self.value(schema, place.inside(name=name))
            for name, schema in properties.items()
            if name in required or (self.optional and not self._leads_back(schema, place))
        }
        spare = (f"key{number}" for number in range(1, int(_bound(rules, "minProperties", 0)) + 1))
        for name in [name for name in required if name not in properties]:
            filled[name] = self.value(others, place.inside(name=name))
        while len(filled) < _bound(rules, "minProperties", 0):
            name = next(spare)
            filled.setdefault(name, self.value(others, place.inside(name=name)))
        return filled

    def _array(self, rules: Mapping[str, Any], place: _Place) -> list[object]:
        items = rules.get("items", True)
        first = list(rules.get("prefixItems") or ())
        least, most = _bound(rules, "minItems", 0), _bound(rules, "maxItems", math.inf)
        recursive = place.depth > _DEEPEST or self._leads_back(items, place)
        usual = len(first) or (0 if recursive else 1)
        length = int(max(least, min(usual, most)))
        return [
            self.value(first[index] if index < len(first) else items, place.inside(index=index))
            for index in range(length)
        ]

    def _number(self, rules: Mapping[str, Any], place: _Place, *, whole: bool) -> float:
        hint = self.hints.take_number(lambda number: _accepts(rules, number, whole=whole))
        number = _default_number(rules, whole=whole) if hint is None else hint
        step = _bound(rules, "multipleOf", 1)
        if hint is None and _accepts(rules, number + place.index * step, whole=whole):
            number += place.index * step
        return int(number) if whole else number

    def _text(self, rules: Mapping[str, Any], place: _Place) -> str:
        least, most = int(max(1, _bound(rules, "minLength", 1))), _bound(rules, "maxLength", math.inf)
        longest = None if most == math.inf else int(most)
        if rules.get("format") in _FORMATS:
            return _FORMATS[rules["format"]]
        if pattern := rules.get("pattern"):
            return patterns.make_matching_text(pattern, min_length=least, max_length=longest) or place.name
        hint = self.hints.take_text(lambda text: least <= len(text) <= most)
        return hint or _invented_text(place, least, longest)


def _invented_text(place: _Place, least: int, longest: int | None) -> str:
    """The property's name, with the array index if there is one, cut or padded to the bounds."""
    name = place.name.replace("_", " ")
    text = (f"{name} {place.index + 1}" if place.index else name).ljust(least, ".")
    if longest is None or len(text) <= longest:
        return text
    mark = string.ascii_lowercase[place.index % len(string.ascii_lowercase)]
    return (text[: longest - 1] + mark)[:longest]


def _merged(rules: Mapping[str, Any], part: Schema) -> dict[str, Any]:
    """Both sets of rules; properties and requirements are joined."""
    if isinstance(part, bool):
        return dict(rules)
    joined = {**rules, **part}
    for name in ("properties", "$defs"):
        if name in rules and name in part:
            joined[name] = {**rules[name], **part[name]}
    if "required" in rules and "required" in part:
        joined["required"] = [*rules["required"], *part["required"]]
    return joined


def _kind(rules: Mapping[str, Any]) -> str:
    kinds = rules.get("type") or _implied_kind(rules)
    names = [str(kind).lower() for kind in ([kinds] if isinstance(kinds, str) else kinds)]
    return next((name for name in names if name != "null"), "null")


def _implied_kind(rules: Mapping[str, Any]) -> str:
    if "properties" in rules or "additionalProperties" in rules:
        return "object"
    return "array" if "items" in rules or "prefixItems" in rules else "string"


def _is_null(schema: Schema) -> bool:
    return not isinstance(schema, bool) and str(schema.get("type")).lower() == "null"


def _bound(rules: Mapping[str, Any], name: str, default: float) -> float:
    bound = rules.get(name)
    return default if bound is None else float(bound)


def _accepts(rules: Mapping[str, Any], number: float, *, whole: bool) -> bool:
    step = _bound(rules, "multipleOf", 0)
    return (
        _bound(rules, "minimum", -math.inf) <= number <= _bound(rules, "maximum", math.inf)
        and (_bound(rules, "exclusiveMinimum", -math.inf) < number or "exclusiveMinimum" not in rules)
        and (number < _bound(rules, "exclusiveMaximum", math.inf) or "exclusiveMaximum" not in rules)
        and (not whole or number == int(number))
        and (not step or math.isclose(number / step, round(number / step), abs_tol=1e-9))
    )


def _default_number(rules: Mapping[str, Any], *, whole: bool) -> float:
    """1 if that is accepted, else the accepted number nearest to the lower, or else the upper, bound."""
    low = max(_bound(rules, "minimum", -math.inf), _bound(rules, "exclusiveMinimum", -math.inf))
    high = min(_bound(rules, "maximum", math.inf), _bound(rules, "exclusiveMaximum", math.inf))
    step = _bound(rules, "multipleOf", 1 if whole else 0)
    if step and low > -math.inf:
        candidates = [math.ceil(low / step) * step, (math.floor(low / step) + 1) * step]
    elif step:
        candidates = [math.floor(min(high, 0) / step) * step, (math.ceil(min(high, 0) / step) - 1) * step]
    else:
        candidates = [low, high, (low + high) / 2, low + 1, high - 1]
    return next(
        (
            number
            for number in (1.0, *candidates)
            if math.isfinite(number) and _accepts(rules, number, whole=whole)
        ),
        0.0,
    )
