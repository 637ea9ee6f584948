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


def read_optional_field(
    body: Mapping[str, Any], name: str, expected_type: type[T], path_prefix: str = ""
) -> T | None:
    """Read the field ``name`` of ``body``, a JSON object in the request. None if the field is absent or null.

    Error messages put ``path_prefix`` before the name: the path of ``body`` with a trailing dot.

    Raises:
        InvalidRequestError: The value has another type than ``expected_type``.
    """
    value = body.get(name)
    if value is None or (
        isinstance(value, expected_type) and not (expected_type is int and isinstance(value, bool))
    ):
        return value
    raise InvalidRequestError(
        f"`{path_prefix}{name}` has to be {_WORDS[expected_type]}.", f"{path_prefix}{name}"
    )


def read_required_field(
    body: Mapping[str, Any], name: str, expected_type: type[T], path_prefix: str = ""
) -> T:
    """Read the field ``name`` of ``body``, a JSON object in the request.

    Error messages put ``path_prefix`` before the name: the path of ``body`` with a trailing dot.

    Raises:
        InvalidRequestError: The field is missing or null, or has another type than ``expected_type``.
    """
    value = read_optional_field(body, name, expected_type, path_prefix)
    if value is None:
        raise InvalidRequestError(
            f"`{path_prefix}{name}` is missing.", f"{path_prefix}{name}", "missing_required_parameter"
        )
    return value


def read_model_name(body: Mapping[str, Any], field: str = "model") -> str:
    """Read the name of the requested model from ``field`` of the request's body.

    Raises:
        InvalidRequestError: The name is missing or too long.
    """
    name = read_required_field(body, field, str)
    if len(name) > LONGEST:
        raise InvalidRequestError(f"`{field}` may have up to {LONGEST} characters.", field)
    return name


def iter_objects_with_paths(values: Sequence[Any], field_path: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each item of a list in the request with its path, such as ``tools[2]``, for error messages.

    Args:
        values: The items of the list, which have to be JSON objects.
        field_path: The path of the list in the request.

    Raises:
        InvalidRequestError: An item is no object.
    """
    for number, value in enumerate(values):
        if not isinstance(value, dict):
            raise InvalidRequestError(
                f"`{field_path}[{number}]` has to be an object.", f"{field_path}[{number}]"
            )
        yield value, f"{field_path}[{number}]"


def read_model_options(body: Mapping[str, Any], option_by_field: Mapping[str, str]) -> Options:
    """Read the options of the model call, such as ``temperature``, from the fields of a request.

    Args:
        body: The JSON body of the request.
        option_by_field: The option that each field sets, in order: the first present field of an option counts.

    Raises:
        InvalidRequestError: A value is invalid for its option.
    """
    given: dict[str, Any] = {}
    fields: dict[str, str] = {}
    for field, option in option_by_field.items():
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


def find_unknown_fields(
    body: Mapping[str, Any], known_fields: frozenset[str], path_prefix: str = ""
) -> list[str]:
    """List the paths of fields that this service does not know, and therefore ignores.

    Fields that are null, empty, zero or false are not listed.

    Args:
        body: The JSON body of the request, or an object within it.
        known_fields: The names of the fields that this service reads.
        path_prefix: The path of ``body`` in the request, such as ``output_config.``; empty for the whole body.
    """
    return [
        f"{path_prefix}{name}"
        for name, value in body.items()
        if name not in known_fields and value not in (None, 0, "", [], {})
    ]


def find_ignored_service_tier(service_tier: str | None) -> list[str]:
    """Return ``["service_tier"]`` if this ``service_tier`` is not supported and so ignored, else an empty list."""
    return [] if service_tier in _SERVED_TIERS else ["service_tier"]


def find_ignored_allowed_callers(tool: Mapping[str, Any], path_prefix: str) -> list[str]:
    """Return ``["tools.allowed_callers"]`` if ``tool`` may not be called by the model directly, else an empty list.

    Such a restriction is ignored here, because the model always calls tools directly.

    Args:
        tool: The definition of the tool.
        path_prefix: The path of ``tool`` in the request, with a dot at its end, for error messages.

    Raises:
        InvalidRequestError: ``allowed_callers`` is no list.
    """
    callers = read_optional_field(tool, "allowed_callers", list, path_prefix)
    return ["tools.allowed_callers"] if callers and "direct" not in callers else []


def reject_unsupported_fields(body: Mapping[str, Any], message_by_field: Mapping[str, str]) -> None:
    """Raise an error if the request uses a field that this service does not support.

    Args:
        body: The JSON body of the request.
        message_by_field: The unsupported fields, each with its error message.

    Raises:
        InvalidRequestError: An unsupported field is present, and neither null, empty nor false.
    """
    for field, reason in message_by_field.items():
        if body.get(field):
            raise InvalidRequestError(reason, field, "unsupported_parameter")
