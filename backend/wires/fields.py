"""Reads the fields of a request; a field of a wrong type is refused by its name."""

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
    """Each of ``values``, which must be objects, with its path for error messages.

    Raises:
        InvalidRequestError: A value is no object.
    """
    for number, value in enumerate(values):
        if not isinstance(value, dict):
            raise InvalidRequestError(f"`{place}[{number}]` has to be an object.", f"{place}[{number}]")
        yield value, f"{place}[{number}]"


def options_from(body: Mapping[str, Any], names: Mapping[str, str]) -> Options:
    """The options in the fields of ``body``.

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
    """The names of the fields in ``body`` that are neither ``known`` nor empty. ``within`` is the path before each name."""
    return [
        f"{within}{name}"
        for name, value in body.items()
        if name not in known and value not in (None, 0, "", [], {})
    ]


def ignored_tier(tier: str | None) -> list[str]:
    """``service_tier``, if ``tier`` is one that is not served: the table says how urgent and how expensive a call is."""
    return [] if tier in _SERVED_TIERS else ["service_tier"]


def ignored_callers(tool: Mapping[str, Any], within: str) -> list[str]:
    """``tools.allowed_callers``, if only other programs than the model may call ``tool``: here the model calls all tools.

    Raises:
        InvalidRequestError: The field is no list.
    """
    callers = optional_field(tool, "allowed_callers", list, within)
    return ["tools.allowed_callers"] if callers and "direct" not in callers else []


def refuse(body: Mapping[str, Any], reasons: Mapping[str, str]) -> None:
    """Refuse a request with one of these fields, with the reason.

    Raises:
        InvalidRequestError: One of the fields is neither empty nor false.
    """
    for field, reason in reasons.items():
        if body.get(field):
            raise InvalidRequestError(reason, field, "unsupported_parameter")
