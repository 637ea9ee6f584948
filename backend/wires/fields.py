"""Reads single fields of a request's JSON body. A field of the wrong type raises an error that names the field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from backend.utils.llm.nearest import LONGEST
from backend.utils.llm.options import NO_OPTIONS, Options

from .faults import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

T = TypeVar("T")

_WORDS: dict[type, str] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    list: "a list",
    dict: "an object",
}
UNMODERATED = "Nothing is moderated here. Leave `moderation` out, and look at the content yourself."
_SERVED_TIERS = frozenset({None, "auto", "default", "standard", "standard_only"})


def optional_field(body: Mapping[str, Any], name: str, kind: type[T], within: str = "") -> T | None:
    """Get the field ``name`` of a JSON object in the request. None if the field is absent or null.

    Args:
        body: The JSON object.
        name: The name of the field.
        kind: The type that the value must have.
        within: The path of ``body`` in the request, with a dot at its end, for error messages.

    Raises:
        InvalidRequestError: The value has another type.
    """
    value = body.get(name)
    if value is None or (isinstance(value, kind) and not (kind is int and isinstance(value, bool))):
        return value
    raise InvalidRequestError(f"`{within}{name}` has to be {_WORDS[kind]}.", f"{within}{name}")


def required_field(body: Mapping[str, Any], name: str, kind: type[T], within: str = "") -> T:
    """Get the field ``name`` of a JSON object in the request.

    Args:
        body: The JSON object.
        name: The name of the field.
        kind: The type that the value must have.
        within: The path of ``body`` in the request, with a dot at its end, for error messages.

    Raises:
        InvalidRequestError: The field is missing or null, or its value has another type.
    """
    value = optional_field(body, name, kind, within)
    if value is None:
        raise InvalidRequestError(
            f"`{within}{name}` is missing.", f"{within}{name}", "missing_required_parameter"
        )
    return value


def read_model_name(body: Mapping[str, Any], field: str = "model") -> str:
    """Get the name of the requested model from ``field`` of the request's body.

    Raises:
        InvalidRequestError: The name is missing or too long.
    """
    name = required_field(body, field, str)
    if len(name) > LONGEST:
        raise InvalidRequestError(f"`{field}` may have up to {LONGEST} characters.", field)
    return name


def iter_objects_with_paths(values: Sequence[Any], field_path: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Check that every item of a list in the request is a JSON object, and yield each with its path, such as ``tools[2]``.

    Args:
        values: The items of the list.
        field_path: The path of the list in the request, for error messages.

    Raises:
        InvalidRequestError: An item is no object.
    """
    for number, value in enumerate(values):
        if not isinstance(value, dict):
            raise InvalidRequestError(
                f"`{field_path}[{number}]` has to be an object.", f"{field_path}[{number}]"
            )
        yield value, f"{field_path}[{number}]"


def read_options(body: Mapping[str, Any], names: Mapping[str, str]) -> Options:
    """Read the options of the model call, such as ``temperature``, from the fields of a request.

    Args:
        body: The request.
        names: The option that each field sets. If several fields set the same option, the first field that
            is present counts.

    Raises:
        InvalidRequestError: A value is invalid for its option.
    """
    given: dict[str, Any] = {}
    fields: dict[str, str] = {}
    for field, option in names.items():
        if (value := body.get(field)) is not None and option not in given:
            given[option], fields[option] = value, field
    if not given:
        return NO_OPTIONS
    try:
        return Options.model_validate(given, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    field = fields.get(str(first["loc"][0]), str(first["loc"][0]))
    raise InvalidRequestError(f"`{field}`: {first['msg']}.", field)


def find_unknown_fields(body: Mapping[str, Any], known: frozenset[str], within: str = "") -> list[str]:
    """List the fields of a JSON object in the request that this service does not know and therefore ignores.

    Args:
        body: The JSON object: the body, or an object within it.
        known: The names of the fields that this service reads.
        within: The path of ``body`` in the request, such as ``output_config.``. It is put before each name.

    Returns:
        The paths of the unknown fields, except for those that are null, empty, zero or false.
    """
    return [
        f"{within}{name}"
        for name, value in body.items()
        if name not in known and value not in (None, 0, "", [], {})
    ]


def find_ignored_service_tier(tier: str | None) -> list[str]:
    """Return ``["service_tier"]`` if the requested ``tier`` is not supported and so has no effect, else an empty list."""
    return [] if tier in _SERVED_TIERS else ["service_tier"]


def find_ignored_allowed_callers(tool: Mapping[str, Any], within: str) -> list[str]:
    """Return ``["tools.allowed_callers"]`` if ``tool`` may not be called by the model directly, else an empty list.

    Such a restriction is ignored here, because the model always calls tools directly.

    Args:
        tool: The definition of the tool.
        within: The path of ``tool`` in the request, with a dot at its end, for error messages.

    Raises:
        InvalidRequestError: ``allowed_callers`` is no list.
    """
    callers = optional_field(tool, "allowed_callers", list, within)
    return ["tools.allowed_callers"] if callers and "direct" not in callers else []


def reject_unsupported_fields(body: Mapping[str, Any], reasons: Mapping[str, str]) -> None:
    """Raise an error if the request uses a field that this service does not support.

    Args:
        body: The request.
        reasons: The error message for each unsupported field.

    Raises:
        InvalidRequestError: An unsupported field is present, and neither null, empty nor false.
    """
    for field, reason in reasons.items():
        if body.get(field):
            raise InvalidRequestError(reason, field, "unsupported_parameter")
