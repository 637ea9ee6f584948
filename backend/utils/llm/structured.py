"""Schemas of structured answers: a schema goes in, a validated object comes out, whichever API serves.

The schema is turned into JSON Schema once. Each API gets it in its own way (see `providers`); the answer
is validated here, on the raw text, never by an SDK.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import operator
import re
import types
import typing
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, Required, get_args, get_origin

import typing_extensions
from langchain_core.utils.function_calling import convert_to_json_schema
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import is_typeddict, override

from .embedded_json import find_json_documents
from .schema_checks import find_schema_violation
from .schema_dialects import OPENAI, read_schema_definitions, rewrite_for_dialect

if TYPE_CHECKING:
    from collections.abc import Callable

    from .schema_dialects import SchemaDialect

SchemaMethod = Literal["json_schema", "json_mode"]
PARSED_KEY = "parsed"
"""The key of a structured answer's object in a message's ``additional_kwargs``."""

_WRAPPED = "answer"
"""The property in which a value stands that is no object: an API's answer is always one."""
_MOST_PLACES = 20
"""Of an answer that does not fit. A model that gets more than these wrong is told how many."""


class SchemaMismatchError(ValueError):
    """The answer's text is not JSON, or does not fit the schema. The message never quotes the text."""


@dataclass(frozen=True, eq=False)
class AnswerSchema:
    """The schema that an answer must fit: as JSON Schema for the endpoint, and as a parser of its text.

    Attributes:
        name: The schema's title, which is sent as its name.
        json_schema: The JSON Schema, whose root is an object; None for ``json_mode``, where any JSON object
            will do.
        is_strict: Whether an endpoint should enforce the schema, as far as its dialect can express it.
        parse: Turns the answer's text into the object; raises `SchemaMismatchError`.
        source: The arguments of `schema_of` from which the schema was made, by which it is pickled.
    """

    name: str
    method: SchemaMethod
    json_schema: dict[str, Any] | None
    is_strict: bool
    parse: Callable[[str], Any]
    source: tuple[Any, SchemaMethod, bool | None] = field(repr=False)
    _expressed: dict[SchemaDialect, dict[str, Any] | None] = field(default_factory=dict, repr=False)

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return _again, self.source

    def to_dialect(self, dialect: SchemaDialect) -> dict[str, Any] | None:
        """Rewrite the JSON Schema with the keywords of ``dialect`` only, for an API that enforces it.

        None if the dialect cannot express it, or if there is no JSON Schema. The result is cached.
        """
        if dialect not in self._expressed:
            self._expressed[dialect] = (
                rewrite_for_dialect(self.json_schema, dialect) if self.json_schema else None
            )
        return self._expressed[dialect]

    @property
    def strict_schema(self) -> dict[str, Any] | None:
        """The schema in OpenAI's strict dialect; None if it is not strict, or the dialect cannot express it."""
        return self.to_dialect(OPENAI) if self.is_strict else None


def schema_of(
    schema: object, method: SchemaMethod = "json_schema", *, strict: bool | None = None
) -> AnswerSchema:
    """Make the `AnswerSchema` of a pydantic class, dataclass, ``TypedDict`` class or JSON Schema with a title.

    Args:
        schema: The type, or the JSON Schema itself.
        method: ``json_schema`` requires an answer that fits the schema; ``json_mode`` asks only for JSON.
        strict: Whether an endpoint should enforce the schema, which makes every property required; by
            default True for types, False for a JSON Schema and for a ``TypedDict`` with optional keys. A
            schema that a strict dialect cannot express is sent without ``strict``.
    """
    if isinstance(schema, type):
        return _of_type(schema, method, strict)
    try:
        return _of_json(json.dumps(schema), method, strict)
    except (RecursionError, TypeError, ValueError):  # it holds what is no JSON
        return _build(schema, method, strict)


def _again(schema: object, method: SchemaMethod, strict: bool | None) -> AnswerSchema:  # noqa: FBT001 - pickle names no arguments
    return schema_of(schema, method, strict=strict)


def parse_response_format(response_format: Any) -> AnswerSchema | None:
    """Make the `AnswerSchema` of a ``response_format``: OpenAI's, a type, or a JSON Schema. None for free text.

    Raises:
        ValueError: A ``json_schema`` in OpenAI's form lacks its schema.
    """
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if response_format is None or kind == "text":
        return None
    if kind == "json_object":
        return schema_of({"title": "answer", "type": "object"}, "json_mode")
    if kind != "json_schema":
        return schema_of(response_format)
    try:
        described = response_format["json_schema"]
        schema = {"title": described.get("name", "answer"), **described["schema"]}
    except (AttributeError, KeyError, TypeError):
        raise ValueError("response_format: a json_schema has a name and a schema") from None
    return schema_of(schema, strict=described.get("strict"))


@lru_cache(maxsize=512)
def _of_type(schema: type, method: SchemaMethod, strict: bool | None) -> AnswerSchema:  # noqa: FBT001 - cache key
    return _build(schema, method, strict)


@lru_cache(maxsize=512)
def _of_json(schema: str, method: SchemaMethod, strict: bool | None) -> AnswerSchema:  # noqa: FBT001 - cache key
    """`_build`, cached by the schema's JSON, for code that passes a new schema with each call: `_build` takes ten times as long."""
    return _build(json.loads(schema), method, strict)


def _build(schema: Any, method: SchemaMethod, strict: bool | None) -> AnswerSchema:  # noqa: FBT001 - private
    plain, validate = _read(schema)
    source = (schema, method, strict)
    if method == "json_mode":
        return AnswerSchema("json", method, None, is_strict=False, parse=_parser(validate), source=source)
    if strict is None:
        strict = isinstance(schema, type) and not (is_typeddict(schema) and _leaves_out(plain))
    rooted = _rooted(plain)
    is_wrapped = rooted.get("type") != "object"
    return AnswerSchema(
        name=re.sub(r"\W", "_", str(plain.get("title", "answer")), flags=re.ASCII)[:64],
        method=method,
        json_schema=_wrapped(rooted) if is_wrapped else rooted,
        is_strict=strict,
        parse=_parser(_unwrapping(validate) if is_wrapped else validate),
        source=source,
    )


# Types ---------------------------------------------------------------------------------------------------------------


class _Untitled(GenerateJsonSchema):
    """Generates JSON Schema without titles of fields, which only repeat their names."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - as it is declared

    @override
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _read(schema: Any) -> tuple[dict[str, Any], Callable[[str], Any]]:
    """A schema as JSON Schema, with a function that validates a document against it."""
    if isinstance(schema, dict):
        plain = {"title": "answer", **_without_wrapping(schema)}
        return plain, partial(_fitting, schema=_rooted(plain))
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return schema.model_json_schema(schema_generator=_Untitled), schema.model_validate_json
    if hasattr(schema, "parse_raw"):  # pydantic.v1
        return schema.schema(), schema.parse_raw
    if is_typeddict(schema) or dataclasses.is_dataclass(schema):
        adapter: TypeAdapter[Any] = TypeAdapter(_portable(schema))
        return adapter.json_schema(schema_generator=_Untitled), adapter.validate_json
    plain = convert_to_json_schema(schema)
    return plain, partial(_fitting, schema=plain)


def _without_wrapping(schema: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema in OpenAI's declaration of a function; any other schema unchanged."""
    function = schema.get("function", schema)
    if not isinstance(function, dict) or not isinstance(function.get("parameters"), dict):
        return schema
    described = {"title": function.get("name"), "description": function.get("description")}
    return {**{key: value for key, value in described.items() if value}, **function["parameters"]}


def _portable(hint: Any) -> Any:
    """``hint`` in types that pydantic accepts before Python 3.12, too, with LangChain's ``Annotated[type, default, text]``."""
    if is_typeddict(hint):
        return _portable_dict(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _annotated(_portable(arguments[0]), arguments[1:])
    if origin in {Required, NotRequired, typing_extensions.ReadOnly}:
        return origin[_portable(arguments[0])]
    if origin in {typing.Union, types.UnionType}:
        return functools.reduce(operator.or_, map(_portable, arguments))
    if origin in {list, dict, set, tuple, frozenset}:
        return origin[tuple(map(_portable, arguments))]
    return hint


@lru_cache(maxsize=512)
def _portable_dict(schema: type) -> Any:
    hints = typing_extensions.get_type_hints(schema, include_extras=True)
    required = schema.__required_keys__  # type: ignore[attr-defined]
    fields = {name: _present(_portable(hint), is_required=name in required) for name, hint in hints.items()}
    made = typing_extensions.TypedDict(schema.__name__, fields)  # type: ignore[misc]
    made.__doc__, made.__module__ = schema.__doc__, schema.__module__
    return made


def _present(hint: Any, *, is_required: bool) -> Any:
    return hint if is_required or get_origin(hint) in {Required, NotRequired} else NotRequired[hint]


def _annotated(hint: Any, marks: tuple[Any, ...]) -> Any:
    """The marks that LangChain allows after a type: ``...`` or a default, and a description."""
    match marks:
        case (str(text),) | (types.EllipsisType(), str(text)):
            return Annotated[hint, Field(description=text)]
        case (_, str(text)):
            return NotRequired[Annotated[hint, Field(description=text)]]
        case _:
            return Annotated[(hint, *marks)]


def _leaves_out(schema: dict[str, Any]) -> bool:
    """Whether an object of ``schema`` may lack a property."""
    parts = [schema, *read_schema_definitions(schema).values()]
    return any(part.get("properties", {}).keys() - set(part.get("required", ())) for part in parts)


# Roots ---------------------------------------------------------------------------------------------------------------


def _rooted(schema: dict[str, Any]) -> dict[str, Any]:
    """``schema`` with its root inlined, if the root only refers to a definition."""
    definitions = read_schema_definitions(schema)
    for _ in range(len(definitions)):
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        if not isinstance(definitions.get(name), dict):
            break
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**definitions[name], **beside}
    return {**schema, "type": "object"} if "properties" in schema and "type" not in schema else schema


def _wrapped(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object with one property, whose value fits ``schema``."""
    definitions: dict[str, Any] = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    inner = {key: value for key, value in schema.items() if key not in {"$defs", "definitions", "title"}}
    return {
        "title": schema.get("title", "answer"),
        "type": "object",
        "properties": {_WRAPPED: inner},
        "required": [_WRAPPED],
        **definitions,
    }


def _unwrapping(validate: Callable[[str], Any]) -> Callable[[str], Any]:
    """A function that validates a document with or without its wrapping object."""

    def unwrapped(document: str) -> Any:
        found = json.loads(document, strict=False)
        is_wrapped = isinstance(found, dict) and found.keys() == {_WRAPPED}
        return validate(json.dumps(found[_WRAPPED]) if is_wrapped else document)

    return unwrapped


# Answers -------------------------------------------------------------------------------------------------------------


def _parser(validate: Callable[[str], Any]) -> Callable[[str], Any]:
    """A function that finds the object in an answer's text: the whole text, or else the last document in it that fits."""

    def parse(text: str) -> Any:
        try:
            return validate(text)
        except (ValueError, RecursionError) as error:
            found, fault = _found_in(text, validate, error)
        if found:
            return found[-1]
        raise SchemaMismatchError(_fault_text(fault)) from None

    return parse


def _found_in(text: str, validate: Callable[[str], Any], fault: Exception) -> tuple[list[Any], Exception]:
    """The documents in ``text`` that fit; and the fault of the last that does not, or else ``fault``."""
    found = []
    for document in find_json_documents(text):
        try:
            value = json.loads(document, strict=False)
            found.append(_first_fitting(value, validate))
        except (ValueError, RecursionError) as error:
            fault = error
    return found, fault


def _first_fitting(value: Any, validate: Callable[[str], Any]) -> Any:
    """``value``, or else the value that it wraps: some models put their answer under a key, or write a tool call as text.

    Raises:
        ValueError: Neither fits; the fault is that of ``value``.
    """
    try:
        return validate(json.dumps(value))
    except ValueError:
        wrapped = _wrapped_in(value)
        if wrapped is not None:
            with suppress(ValueError):
                return validate(json.dumps(wrapped))
        raise


def _wrapped_in(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    inner = value.get("arguments") if value.keys() == {"name", "arguments"} else None
    if len(value) == 1:
        (inner,) = value.values()
    return inner if isinstance(inner, dict) else None


def _fitting(document: str, schema: dict[str, Any]) -> Any:
    """The value of a document, checked against a JSON Schema."""
    value = json.loads(document, strict=False)
    if (fault := find_schema_violation(value, schema)) is not None:
        raise SchemaMismatchError(fault)
    return value


def _fault_text(fault: Exception) -> str:
    """The fault in words, without any part of the answer."""
    if isinstance(fault, ValidationError):
        return _places(fault)
    return str(fault) if isinstance(fault, SchemaMismatchError) else type(fault).__name__


def _places(error: ValidationError) -> str:
    """The places where the answer does not fit, each with the reason."""
    if error.error_count() > _MOST_PLACES:
        return f"wrong in {error.error_count()} places"
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    return ", ".join(
        f"{'.'.join(map(str, details['loc'])) or 'answer'}: {details['type']}" for details in errors
    )
