"""Reads single fields of a request's body. A field of the wrong type is refused with an error that names the field."""

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
    """The value of the field ``name``; None if absent or null. ``within`` is the path before the name, for error messages.

    Raises:
        InvalidRequestError: The value is no ``kind``.
    """
    value = body.get(name)
    if value is None or (isinstance(value, kind) and not (kind is int and isinstance(value, bool))):
        return value
    raise InvalidRequestError(f"`{within}{name}` has to be {_WORDS[kind]}.", f"{within}{name}")


def required_field(body: Mapping[str, Any], name: str, kind: type[T], within: str = "") -> T:
    """The value of the field ``name``. ``within`` is the path before the name, for error messages.

    Raises:
        InvalidRequestError: The field is missing or null, or its value is no ``kind``.
    """
    value = optional_field(body, name, kind, within)
    if value is None:
        raise InvalidRequestError(
            f"`{within}{name}` is missing.", f"{within}{name}", "missing_required_parameter"
        )
    return value


def model_name(body: Mapping[str, Any], field: str = "model") -> str:
    """The model's name in ``field`` of ``body``.

    Raises:
        InvalidRequestError: The name is missing or too long.
    """
    name = required_field(body, field, str)
    if len(name) > LONGEST:
        raise InvalidRequestError(f"`{field}` may have up to {LONGEST} characters.", field)
    return name


def objects(values: Sequence[Any], place: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Check that every item of a list in the request is an object, and yield each with its path, such as ``tools[2]``.

    Args:
        values: The items of the list.
        place: The path of the list, for error messages.

    Raises:
        InvalidRequestError: An item is no object.
    """
    for number, value in enumerate(values):
        if not isinstance(value, dict):
            raise InvalidRequestError(f"`{place}[{number}]` has to be an object.", f"{place}[{number}]")
        yield value, f"{place}[{number}]"


def options_from(body: Mapping[str, Any], names: Mapping[str, str]) -> Options:
    """Read the options of the model call, such as ``temperature``, from the fields of a request.

    Args:
        body: The request.
        names: The option of each field. If several fields set the same option, the first one present counts.

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


def ignored_in(body: Mapping[str, Any], known: frozenset[str], within: str = "") -> list[str]:
    """List the fields of a request's body that this service does not know and therefore leaves out.

    Args:
        body: The request, or an object within it.
        known: The names of the fields that are read. They are not listed.
        within: The path that is put before each name, such as ``output_config.``.

    Returns:
        The paths of the fields. Fields that are null, empty, zero or false are not listed.
    """
    return [
        f"{within}{name}"
        for name, value in body.items()
        if name not in known and value not in (None, 0, "", [], {})
    ]


def ignored_tier(tier: str | None) -> list[str]:
    """``["service_tier"]`` if the request asks for a ``tier`` that is not served, else an empty list."""
    return [] if tier in _SERVED_TIERS else ["service_tier"]


def ignored_callers(tool: Mapping[str, Any], within: str) -> list[str]:
    """``["tools.allowed_callers"]`` if only programs, not the model itself, may call ``tool``; else an empty list.

    The field has no effect here, because tools are always called by the model.

    Raises:
        InvalidRequestError: The field is no list.
    """
    callers = optional_field(tool, "allowed_callers", list, within)
    return ["tools.allowed_callers"] if callers and "direct" not in callers else []


def refuse(body: Mapping[str, Any], reasons: Mapping[str, str]) -> None:
    """Raise an error if the request uses a field that this service cannot honour.

    Args:
        body: The request.
        reasons: The error message for each such field.

    Raises:
        InvalidRequestError: One of the fields is neither empty nor false.
    """
    for field, reason in reasons.items():
        if body.get(field):
            raise InvalidRequestError(reason, field, "unsupported_parameter")
