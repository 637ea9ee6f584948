"""JSON Schema in the dialects of the APIs that enforce it.

A dialect lists its keywords; no other keyword is sent. Other keywords that only constrain a value are
put into the description instead, since Patchbay validates every answer anyway. A schema that needs still
more cannot be expressed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SchemaNode = dict[str, Any]


@dataclass(frozen=True)
class SchemaSizeLimits:
    """The limits of an API on the size of a schema.

    Attributes:
        properties: The most properties, in all objects together.
        levels: The most levels of nested objects.
        characters: The most characters in names of properties and definitions and in enum values, together.
        choices: The most enum values, in all enums together.
        long_enum: The most characters in all values of an enum, for enums of more than 250 texts.
    """

    properties: int
    levels: int
    characters: int
    choices: int
    long_enum: int


@dataclass(frozen=True)
class SchemaDialect:
    """The part of JSON Schema that a vendor's API supports.

    Attributes:
        constraints: The supported keywords that constrain a value, such as ``minimum``.
        formats: The supported values of ``format``.
        is_closed: Whether every object must list all of its properties as required, and permits no others.
        has_tuples: Whether ``prefixItems`` is supported.
        is_recursive: Whether a definition may refer to itself, directly or not.
        unrolls: Whether the API expands recursion, so that a property that recurs must be optional.
        bounds: The limits on a schema's size; None if none are documented.
    """

    constraints: frozenset[str] = frozenset()
    formats: frozenset[str] = frozenset()
    is_closed: bool = True
    has_tuples: bool = False
    is_recursive: bool = True
    unrolls: bool = False
    bounds: SchemaSizeLimits | None = None


_OF_TYPE: Final[Mapping[str, tuple[str, ...]]] = {
    "array": ("minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains"),
    "boolean": (),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "null": (),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "object": ("minProperties", "maxProperties", "propertyNames"),
    "string": ("minLength", "maxLength", "pattern", "format", "contentEncoding"),
}
"""The keywords that narrow a value, by its type."""

OPENAI: Final = SchemaDialect(
    constraints=frozenset({*_OF_TYPE["number"], "pattern", "format", "minItems", "maxItems"}),
    formats=frozenset({"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uuid"}),
    bounds=SchemaSizeLimits(properties=5000, levels=10, characters=120_000, choices=1000, long_enum=15_000),
)
"""https://platform.openai.com/docs/guides/structured-outputs#supported-schemas, as of 2026-11."""
AZURE: Final = SchemaDialect(
    bounds=SchemaSizeLimits(properties=100, levels=5, characters=15_000, choices=500, long_enum=7_500)
)
"""https://learn.microsoft.com/azure/ai-foundry/openai/how-to/structured-outputs: no constraint at all, nor a ``default``."""
MINIMAL: Final = replace(OPENAI, constraints=frozenset(), formats=frozenset(), is_recursive=False)
"""The keywords common to all strict dialects, for gateways in front of several vendors and for Anthropic:
https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations."""
GRAMMAR: Final = SchemaDialect(
    constraints=frozenset(word for words in _OF_TYPE.values() for word in words), formats=OPENAI.formats
)
"""Servers that make a grammar of it, such as llama.cpp and vLLM: a constraint is worth more to a small model than a hint."""
GEMINI: Final = SchemaDialect(
    constraints=frozenset({"format", "maxItems", "maximum", "minItems", "minimum"}),
    formats=frozenset({"date", "date-time", "time"}),
    is_closed=False,
    has_tuples=True,
    unrolls=True,
)
"""``responseJsonSchema`` in https://ai.google.dev/api/generate-content#generationconfig."""

_DEEPEST = 100
"""Levels of a schema. What walks it goes down by recursion."""
_LONG = 250
_ASSERTIONS = frozenset(
    {
        *(
            "$dynamicRef",
            "$recursiveRef",
            "dependencies",
            "dependentRequired",
            "dependentSchemas",
            "else",
            "if",
        ),
        *("not", "patternProperties", "then", "unevaluatedItems", "unevaluatedProperties"),
    }
)
"""Keywords that say what no dialect can. Any other unknown one is a remark, as JSON Schema has it."""
_SHAPES = frozenset(
    {"additionalProperties", "const", "enum", "items", "prefixItems", "properties", "required"}
)
_REMARKS = frozenset({"default", "deprecated", "description", "examples", "title"})
_CHOSEN_FROM = frozenset({"integer", "number", "string"})
"""Types of which values can be listed."""
_REFERENCE = re.compile(r"#/(?:\$defs|definitions)/([^/]+)")
_NOT_REGULAR = re.compile(r"\(\?|\\[1-9kbBAZpP]")
"""Of a pattern: what looks around, back or ahead, or is Python's alone."""
_ROOT = "answer"


class _InexpressibleError(Exception):
    """The dialect cannot express a part of the schema."""


def rewrite_for_dialect(schema: SchemaNode, dialect: SchemaDialect) -> SchemaNode | None:
    """Rewrite ``schema``, whose root is an object, with keywords of ``dialect`` only, for APIs that enforce it.

    None if ``schema`` is invalid, if the dialect cannot express a part of it, such as ``not``, or if the
    result exceeds the size that the API allows.
    """
    try:
        found = _Writer(schema, dialect).root()
    except (
        _InexpressibleError,
        AttributeError,
        TypeError,
        ValueError,
    ):  # the others of what is no schema at all
        return None
    return found if dialect.bounds is None or _is_within(found, dialect.bounds) else None


class _Writer:
    """Writes one schema in a dialect, part by part."""

    def __init__(self, schema: SchemaNode, dialect: SchemaDialect) -> None:
        self._dialect = dialect
        self._definitions = read_schema_definitions(schema)
        self._root = {key: value for key, value in schema.items() if key not in {"$defs", "definitions"}}
        if any(reference == "#" for reference in _references(schema)):
            self._definitions[_ROOT] = self._root
        self._edges = {name: set(self._referenced(part)) for name, part in self._definitions.items()}
        self._within: str | None = None
        self._wanted: list[str] = []

    def root(self) -> SchemaNode:
        written = self._node(self._root, 0)
        if written.get("type") != "object":
            raise _InexpressibleError
        definitions: dict[str, SchemaNode] = {}
        while self._wanted:
            name = self._wanted.pop()
            if name not in definitions:
                self._within = name
                definitions[name] = {}  # it may lead back to itself
                definitions[name] = self._node(self._definitions[name], 0)
        return {**written, "$defs": definitions} if definitions else written

    # Parts -----------------------------------------------------------------------------------------------------------

    def _node(self, node: Any, level: int) -> SchemaNode:
        node = {} if node is True else node
        if not isinstance(node, dict) or level > _DEEPEST or _ASSERTIONS & node.keys():
            raise _InexpressibleError
        match _kind(node):
            case "allOf":
                return self._node(_merged(node), level + 1)
            case "$ref":
                return self._reference(node)
            case "anyOf" | "oneOf" as choice:
                return self._choice(node, node[choice], level)
            case "const" | "enum":
                return self._enum(node)
            case _:
                return self._of_types(node, _types(node), level)

    def _of_types(self, node: SchemaNode, kinds: list[str], level: int) -> SchemaNode:
        if len(kinds) == 1:
            return self._typed(node, kinds[0], level)
        if not kinds and not self._dialect.is_closed:
            return _described(node, ())
        beside = {key: value for key, value in node.items() if key != "description"}
        return self._choice(_described(node, ()), [{**beside, "type": kind} for kind in kinds], level)

    def _reference(self, node: SchemaNode) -> SchemaNode:
        (name,) = self._referenced({"$ref": node["$ref"]})
        if not self._dialect.is_recursive and name in self._reachable([name]):
            raise _InexpressibleError
        self._wanted.append(name)
        bare = {"$ref": f"#/$defs/{name}"}
        # Beside a reference nothing may stand.
        beside = _described(node, _narrowing(node))
        return {**beside, "anyOf": [bare]} if beside else bare

    def _choice(self, node: SchemaNode, choices: Any, level: int) -> SchemaNode:
        if not isinstance(choices, list) or not choices or _SHAPES & node.keys():
            raise _InexpressibleError
        written = [self._node(choice, level + 1) for choice in choices]
        return {**_described(node, _narrowing(node)), "anyOf": written}

    def _enum(self, node: SchemaNode) -> SchemaNode:
        values = [node["const"]] if "const" in node else node["enum"]
        kinds: dict[str, list[Any]] = {}
        for value in values if isinstance(values, list) else ():
            kinds.setdefault(_type_of(value), []).append(value)
        if not kinds:
            raise _InexpressibleError
        written = [_list_of(kind, found) for kind, found in kinds.items()]
        described = _described(node, ())
        if len(written) > 1:
            return {**described, "anyOf": written}
        return {**described, **written[0]}

    def _typed(self, node: SchemaNode, kind: str, level: int) -> SchemaNode:
        if kind not in _OF_TYPE:
            raise _InexpressibleError
        kept = {word: node[word] for word in _OF_TYPE[kind] if word in node and self._says(word, node[word])}
        constraints = [(word, node[word]) for word in _OF_TYPE[kind] if word in node and word not in kept]
        written: SchemaNode = {"type": kind}
        if kind == "array":
            written |= self._array(node, constraints, level)
        elif kind == "object":
            written |= self._object(node, level)
        return {**_described(node, constraints), **written, **kept}

    def _says(self, word: str, value: Any) -> bool:
        if word not in self._dialect.constraints:
            return False
        if word == "format":
            return value in self._dialect.formats
        return word != "pattern" or (isinstance(value, str) and _NOT_REGULAR.search(value) is None)

    def _array(self, node: SchemaNode, constraints: list[tuple[str, Any]], level: int) -> SchemaNode:
        items, places = node.get("items"), node.get("prefixItems")
        if isinstance(items, list):  # how drafts before 2020-12 write places
            items, places = node.get("additionalItems"), items
        if places is None:
            if items is None and not self._dialect.is_closed:
                return {}
            return {"items": self._node(items, level + 1)}
        if not isinstance(places, list):
            raise _InexpressibleError
        if self._dialect.has_tuples:
            rest = {"items": self._node(items, level + 1)} if isinstance(items, dict) else {}
            return {"prefixItems": [self._node(place, level + 1) for place in places], **rest}
        if "maxItems" not in node and isinstance(items, dict):
            places = [*places, items]
        constraints.append(("in this order", [_short(place) for place in places]))
        written = _unique(self._node(place, level + 1) for place in places)
        if not written:
            raise _InexpressibleError
        return {"items": written[0] if len(written) == 1 else {"anyOf": written}}

    def _object(self, node: SchemaNode, level: int) -> SchemaNode:
        properties, required = node.get("properties", {}), node.get("required", [])
        others = node.get("additionalProperties", False)
        if not isinstance(properties, dict) or not isinstance(required, list):
            raise _InexpressibleError
        written = {name: self._node(part, level + 1) for name, part in properties.items()}
        if self._dialect.is_closed:
            if others is not False:
                raise _InexpressibleError
            found = {"properties": written, "required": list(written), "additionalProperties": False}
        else:
            kept = [name for name in required if name in written and not self._is_recursive(properties[name])]
            found = {"properties": written, "required": kept}
            if "additionalProperties" in node:
                found["additionalProperties"] = (
                    others if isinstance(others, bool) else self._node(others, level + 1)
                )
        return {
            key: value
            for key, value in found.items()
            if value or key != "required" or self._dialect.is_closed
        }

    # References ------------------------------------------------------------------------------------------------------

    def _referenced(self, part: Any) -> Iterator[str]:
        """The names of the definitions that ``part`` refers to."""
        for reference in _references(part):
            match = _REFERENCE.fullmatch(str(reference))
            name = (
                _ROOT if reference == "#" else match[1].replace("~1", "/").replace("~0", "~") if match else ""
            )
            if name not in self._definitions:
                raise _InexpressibleError
            yield name

    def _reachable(self, names: Iterable[str]) -> set[str]:
        """The names of all definitions that can be reached from ``names``."""
        found: set[str] = set()
        todo = [item for name in names for item in self._edges[name]]
        while todo:
            if (name := todo.pop()) not in found:
                found.add(name)
                todo.extend(self._edges[name])
        return found

    def _is_recursive(self, part: Any) -> bool:
        """Whether ``part`` of the present definition refers back to the definition, directly or not."""
        named = set(self._referenced(part)) if self._dialect.unrolls and self._within is not None else set()
        return bool(named) and self._within in named | self._reachable(named)


# Reading -------------------------------------------------------------------------------------------------------------


def read_schema_definitions(schema: SchemaNode) -> dict[str, Any]:
    """The named definitions in ``schema``: its ``$defs`` or, in older drafts, its ``definitions``."""
    return {
        name: part
        for word in ("definitions", "$defs")
        for name, part in (schema[word] if isinstance(schema.get(word), dict) else {}).items()
    }


def _references(part: Any) -> Iterator[Any]:
    """The definitions that ``part`` refers to. No recursion, because a schema may have any depth."""
    todo = [part]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            if isinstance(one.get("$ref"), str):
                yield one["$ref"]
            todo.extend(
                value for key, value in one.items() if key not in {"const", "default", "enum", "examples"}
            )
        elif isinstance(one, list):
            todo.extend(one)


def _merged(node: SchemaNode) -> SchemaNode:
    """A node without ``allOf``: its parts are merged, if they do not contradict each other."""
    found = {key: value for key, value in node.items() if key != "allOf"}
    parts = node["allOf"] if isinstance(node["allOf"], list) else [None]
    for part in parts:
        if not isinstance(part, dict):
            raise _InexpressibleError
        for key, value in part.items():
            found[key] = _both(key, found[key], value) if key in found else value
    if "$ref" in found and (_SHAPES | {"anyOf", "oneOf", "type"}) & found.keys():
        raise _InexpressibleError
    return found


def _both(key: str, first: Any, second: Any) -> Any:
    """The value of ``key`` in two merged parts of an ``allOf``."""
    if first == second or key in _REMARKS:
        return first
    if key == "required" and isinstance(first, list) and isinstance(second, list):
        return [*first, *(name for name in second if name not in first)]
    if (
        key == "properties"
        and isinstance(first, dict)
        and isinstance(second, dict)
        and not first.keys() & second
    ):
        return {**first, **second}
    raise _InexpressibleError


def _kind(node: SchemaNode) -> str | None:
    """The keyword that determines a node's kind, if that is not its type."""
    return next((word for word in ("allOf", "$ref", "anyOf", "oneOf", "const", "enum") if word in node), None)


def _types(node: SchemaNode) -> list[str]:
    """The types that a value may have, as far as the node names them."""
    types = node.get("type")
    if isinstance(types, str):
        return [types]
    if isinstance(types, list):
        return [kind for kind in types if isinstance(kind, str)]
    if "properties" in node:
        return ["object"]
    return ["array"] if "items" in node or "prefixItems" in node else []


def _type_of(value: Any) -> str:
    for kind, name in ((bool, "boolean"), (str, "string"), (int, "integer"), (float, "number")):
        if isinstance(value, kind):
            return name
    if value is None:
        return "null"
    raise _InexpressibleError


def _narrowing(node: SchemaNode) -> list[tuple[str, Any]]:
    """The keywords that restrict a value of any type."""
    words = {word: None for words in _OF_TYPE.values() for word in words}
    return [(word, node[word]) for word in words if word in node]


# Writing -------------------------------------------------------------------------------------------------------------


def _described(node: SchemaNode, constraints: Iterable[tuple[str, Any]]) -> SchemaNode:
    """The description, with the constraints that the dialect has no keyword for."""
    description = node.get("description")
    words = ", ".join(
        f"{word}: {json.dumps(value, ensure_ascii=False, default=str)}" for word, value in constraints
    )
    parts = [description if isinstance(description, str) else "", f"({words})" if words else ""]
    text = " ".join(filter(None, parts))
    return {"description": text} if text else {}


def _list_of(kind: str, values: list[Any]) -> SchemaNode:
    if kind in _CHOSEN_FROM:
        return {"type": kind, "enum": values}
    constraints = () if kind == "null" or len(values) > 1 else (("only", values[0]),)
    return {"type": kind, **_described({}, constraints)}


def _short(place: Any) -> Any:
    """A position of a tuple as a word."""
    place = place if isinstance(place, dict) else {}
    return place.get("type") or str(place.get("$ref", "any")).rpartition("/")[2]


def _unique(written: Iterable[SchemaNode]) -> list[SchemaNode]:
    found: dict[str, SchemaNode] = {}
    for node in written:
        found.setdefault(json.dumps(node, sort_keys=True, default=str), node)
    return list(found.values())


# Sizes ---------------------------------------------------------------------------------------------------------------


def _is_within(schema: SchemaNode, bounds: SchemaSizeLimits) -> bool:
    """Whether a written schema is within the bounds."""
    definitions = schema.get("$defs", {})
    names, enums = list(definitions), []
    for node in (node for part in (schema, *definitions.values()) for node in _nodes(part)):
        names.extend(node.get("properties", ()))
        enums.append(node.get("enum", ()))
    choices = [str(value) for values in enums for value in values]
    properties = len(names) - len(definitions)
    return (
        properties <= bounds.properties
        and len(choices) <= bounds.choices
        and sum(map(len, names)) + sum(map(len, choices)) <= bounds.characters
        and all(sum(map(len, map(str, enum))) <= bounds.long_enum for enum in enums if len(enum) > _LONG)
        and _levels(schema, definitions, {}) <= bounds.levels
    )


def _parts(node: SchemaNode) -> list[SchemaNode]:
    """The schemas directly in a written schema."""
    return [
        *node.get("properties", {}).values(),
        *node.get("anyOf", ()),
        *node.get("prefixItems", ()),
        *([node["items"]] if "items" in node else ()),
    ]


def _nodes(node: SchemaNode) -> Iterator[SchemaNode]:
    todo = [node]
    while todo:
        one = todo.pop()
        yield one
        todo.extend(_parts(one))


def _levels(node: SchemaNode, definitions: Mapping[str, SchemaNode], known: dict[str, int]) -> int:
    """The depth of nested objects; a recursive definition counts once."""
    reference = node.get("$ref")
    if reference is not None:
        name = str(reference).removeprefix("#/$defs/")
        if name not in known:
            known[name] = 0
            known[name] = _levels(definitions[name], definitions, known)
        return known[name]
    below = max((_levels(part, definitions, known) for part in _parts(node)), default=0)
    return below + (node.get("type") == "object")
