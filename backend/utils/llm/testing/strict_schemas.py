"""Checks a schema as the vendors that enforce schemas do, by their documented rules, and words refusals as OpenAI does.

- OpenAI: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas, and as its API is known to word a
  refusal: ``In context=('properties', 'pet'), 'oneOf' is not permitted.``
- Azure: https://learn.microsoft.com/azure/ai-foundry/openai/how-to/structured-outputs, which lists fewer keywords and lower
  limits; openai/openai-agents-python#4390 has its refusal of ``default``.
- Gemini: https://ai.google.dev/api/generate-content#generationconfig, under ``responseJsonSchema``.

Written from these pages alone: no code is shared with the modules that write the schemas.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class SchemaRules:
    """The rules of one vendor for the JSON schemas that it enforces.

    Attributes:
        keywords: The allowed keywords.
        ignores_others: Whether other keywords are ignored rather than rejected.
        is_strict: Whether every object must forbid additional properties and require all its properties, and
            the root must be an object.
        formats: The allowed values of ``format``.
        properties: The maximum number of properties of all objects together.
        levels: The maximum depth of nested objects.
        characters: The maximum number of characters of all names and enum values together.
        choices: The maximum number of values of all enums together.
    """

    keywords: frozenset[str]
    ignores_others: bool = False
    is_strict: bool = True
    formats: frozenset[str] = frozenset()
    properties: int = 1_000_000
    levels: int = 1_000_000
    characters: int = 10_000_000
    choices: int = 1_000_000


_COMMON: Final = frozenset(
    {*("$defs", "$ref", "anyOf", "description", "enum", "items", "properties", "required", "title", "type")}
    | {"additionalProperties"}
)
_NUMBERS: Final = frozenset({"maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum", "multipleOf"})

OPENAI: Final = SchemaRules(
    keywords=_COMMON | _NUMBERS | {"const", "default", "format", "maxItems", "minItems", "pattern"},
    formats=frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}),
    properties=5000,
    levels=10,
    characters=120_000,
    choices=1000,
)
AZURE: Final = SchemaRules(
    keywords=_COMMON | {"const"}, properties=100, levels=5, characters=15_000, choices=500
)
GEMINI: Final = SchemaRules(
    keywords=_COMMON
    | {"$anchor", "$id", "format", "maxItems", "maximum", "minItems", "minimum", "oneOf", "prefixItems"}
    | {"propertyOrdering"},
    is_strict=False,
    formats=frozenset({"date", "date-time", "time"}),
)
_REFUSED_BY_GEMINI: Final = replace(GEMINI, ignores_others=True)
"""Google: "while the full JSON Schema may be sent, not all features are supported"; what must not be is little."""
_TYPES: Final = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
_LOOKS_AROUND: Final = re.compile(r"\(\?[=!<]")


def find_request_schema_error(body: Mapping[str, Any]) -> str | None:
    """Check the schemas that a request asks the vendor to enforce.

    Args:
        body: The request's body.

    Returns:
        The vendor's error message for the first schema that it rejects; None if it accepts all.
    """
    for name, schema, rules in _enforced(body):
        if found := find_schema_faults(schema, rules):
            return f"Invalid schema for {name}: {found[0]}"
    return None


def _enforced(body: Mapping[str, Any]) -> Iterator[tuple[str, Any, SchemaRules]]:
    chat, responses = (
        (body.get("response_format") or {}).get("json_schema"),
        (body.get("text") or {}).get("format"),
    )
    for described in (chat, responses):
        if isinstance(described, dict) and described.get("strict"):
            yield f"response_format {described.get('name')!r}", described.get("schema"), OPENAI
    for tool in body.get("tools") or ():
        function = tool.get("function", tool) if isinstance(tool, dict) else {}
        if function.get("strict") and "input_schema" not in function:  # Anthropic's rules are others
            yield f"function {function.get('name')!r}", function.get("parameters"), OPENAI
    config = body.get("generationConfig") or {}
    if config.get("responseJsonSchema") is not None:
        yield "response_json_schema", config["responseJsonSchema"], _REFUSED_BY_GEMINI


def find_schema_faults(schema: Any, rules: SchemaRules) -> list[str]:
    """List everything in ``schema`` that ``rules`` reject, as messages; empty if the vendor accepts the schema."""
    if not isinstance(schema, dict):
        return ["schema must be an object"]
    found = list(_root_faults(schema, rules))
    nodes = dict(_nodes(schema, ()))
    for path, node in nodes.items():
        found += [f"In context={path}, {fault}" for fault in _node_faults(node, rules)]
        if not rules.is_strict:
            found += [f"In context={path}, {fault}" for fault in _cycle_faults(path, node, schema)]
    return found + list(_size_faults(schema, list(nodes.values()), rules))


def _root_faults(schema: Mapping[str, Any], rules: SchemaRules) -> Iterator[str]:
    if rules.is_strict and (schema.get("type") != "object" or "anyOf" in schema):
        yield f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{schema.get('type')}\"'."


def _node_faults(node: Any, rules: SchemaRules) -> Iterator[str]:
    if not isinstance(node, dict):
        yield "schema must be an object"
        return
    for keyword in sorted(() if rules.ignores_others else node.keys() - rules.keywords):
        yield f"'{keyword}' is not permitted."
    if "$ref" in node:
        if beside := {key for key in node if not key.startswith("$")}:
            yield f"$ref cannot have keywords {sorted(beside)}."
        return
    if rules.ignores_others:
        return
    yield from _value_faults(node, rules)
    kind = node.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    if kind is not None and not set(kinds) <= _TYPES:
        yield f"{kind!r} is not a type."
    yield from _strict_faults(node, kinds) if rules.is_strict else _loose_faults(node)


def _value_faults(node: Mapping[str, Any], rules: SchemaRules) -> Iterator[str]:
    if "format" in node and node["format"] not in rules.formats:
        yield f"'{node['format']}' is not a supported format."
    if _LOOKS_AROUND.search(str(node.get("pattern", ""))):
        yield "lookaround is not supported in 'pattern'."


def _loose_faults(node: Mapping[str, Any]) -> Iterator[str]:
    if any(
        isinstance(choice, bool) or not isinstance(choice, str | int | float)
        for choice in node.get("enum", ())
    ):
        yield "'enum' is for strings and numbers only."


def _strict_faults(node: Mapping[str, Any], kinds: list[Any]) -> Iterator[str]:
    properties = node.get("properties", {})
    if kinds == [None] and "anyOf" not in node:
        yield "schema must have a 'type' key."
    if "object" in kinds or properties:
        if node.get("additionalProperties") is not False:
            yield "'additionalProperties' is required to be supplied and to be false."
        if missing := properties.keys() - set(node.get("required", ())):
            yield f"'required' is required to be an array including every key in properties. Missing {sorted(missing)}."
        if unknown := set(node.get("required", ())) - properties.keys():
            yield f"Extra required key {sorted(unknown)} supplied."
    if "array" in kinds and not isinstance(node.get("items"), dict):
        yield "array schema missing items."


def _nodes(node: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Every schema in a schema, with its path."""
    yield path, node
    definitions = node.get("$defs") if isinstance(node, dict) else None
    for name, part in definitions.items() if isinstance(definitions, dict) else ():
        yield from _nodes(part, (*path, "$defs", name))
    for below, part in _parts(node):
        yield from _nodes(part, (*path, *below))


def _parts(node: Any) -> Iterator[tuple[Path, Any]]:
    """The schemas directly in a schema, with their paths."""
    if not isinstance(node, dict):
        return
    properties = node.get("properties")
    for name, part in properties.items() if isinstance(properties, dict) else ():
        yield ("properties", name), part
    for keyword in ("anyOf", "oneOf", "prefixItems"):
        for place, part in enumerate(node.get(keyword) or ()):
            yield (keyword, place), part
    for keyword in ("items", "additionalProperties"):
        if keyword in node and not isinstance(node[keyword], bool):
            yield (keyword,), node[keyword]


def _cycle_faults(path: Path, node: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    """The required properties of a definition that lead back to itself, so that no value can satisfy them."""
    if len(path) < 2 or path[0] != "$defs" or not isinstance(node, dict):  # noqa: PLR2004
        return
    own = f"#/$defs/{path[1]}"
    for name in node.get("required", ()):
        if own in _reached(node.get("properties", {}).get(name), schema):
            yield f"the required property {name!r} is cyclic."


def _reached(node: Any, schema: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    todo = [node]
    while todo:
        for _, part in _nodes(todo.pop(), ()):
            reference = part.get("$ref") if isinstance(part, dict) else None
            if isinstance(reference, str) and reference not in found:
                found.add(reference)
                todo.append(schema.get("$defs", {}).get(reference.removeprefix("#/$defs/")))
    return found


def _size_faults(schema: Mapping[str, Any], nodes: list[Any], rules: SchemaRules) -> Iterator[str]:
    rows = [node for node in nodes if isinstance(node, dict)]
    names = [name for node in rows for name in node.get("properties", {})]
    choices = [str(choice) for node in rows for choice in node.get("enum", ())]
    characters = sum(map(len, [*names, *choices, *schema.get("$defs", {})]))
    for reference in (node["$ref"] for node in rows if "$ref" in node):
        if reference != "#" and str(reference).removeprefix("#/$defs/") not in schema.get("$defs", {}):
            yield f"reference {reference!r} leads nowhere."
    for what, count, most in (
        ("properties", len(names), rules.properties),
        ("enum values", len(choices), rules.choices),
        ("characters", characters, rules.characters),
        ("levels of nesting", _levels(schema, schema.get("$defs", {}), ()), rules.levels),
    ):
        if count > most:
            yield f"schema has {count} {what}, more than {most}."


def _levels(node: Any, definitions: Mapping[str, Any], within: tuple[str, ...]) -> int:
    if not isinstance(node, dict):
        return 0
    if (reference := node.get("$ref")) is not None:
        name = str(reference).removeprefix("#/$defs/")
        return 0 if name in within else _levels(definitions.get(name), definitions, (*within, name))
    below = max((_levels(part, definitions, within) for _, part in _parts(node)), default=0)
    return below + (node.get("type") == "object")
