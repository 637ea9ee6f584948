"""Reads JSON from servers that may send anything: tolerates wrong types, and limits time and size."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..failures import BadAnswer, FailureCategory
from ..transport import AnswerTooLargeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..transport import ServerTrust

SHORT = 4096
"""The size in bytes up to which a document's values are not counted, because there cannot be too many."""
MOST_TOKENS = 10**12
_SEPARATORS = b",:[{"
_LONGEST_NUMBER = 20


def parse_json_object(document: bytes, trust: ServerTrust) -> dict[str, Any]:
    """Parse ``document`` as one JSON object, or as a list with exactly one, because Google sends errors so.

    Raises:
        BadAnswer: ``document`` is JSON, but not an object.
        AnswerTooLargeError: ``document`` has more values than ``trust`` permits.
        ValueError: ``document`` is not JSON.
    """
    try:
        found = json.loads(document) if len(document) <= SHORT else _long(document, trust.most_values)
    except json.JSONDecodeError:
        found = _lenient(document)
    if isinstance(found, list) and len(found) == 1:
        (found,) = found
    if not isinstance(found, dict):
        raise BadAnswer(FailureCategory.UNREADABLE)
    return found


def parse_json_objects(body: bytes, trust: ServerTrust) -> list[dict[str, Any]]:
    """Parse ``body`` as JSON objects: a single one, a list of them, or one on each line, as some servers send.

    Raises:
        BadAnswer: ``body`` is JSON, but contains anything other than objects.
        AnswerTooLargeError: ``body`` has more values than ``trust`` permits.
        ValueError: ``body`` is not JSON.
    """
    try:
        found = json.loads(body) if len(body) <= SHORT else _long(body, trust.most_values)
    except ValueError as error:
        if not str(error).startswith("Extra data"):
            return [parse_json_object(body, trust)]
        return [parse_json_object(line, trust) for line in body.splitlines() if line.strip()]
    if isinstance(found, dict):
        return [found]
    if not isinstance(found, list) or not found or not all(isinstance(item, dict) for item in found):
        raise BadAnswer(FailureCategory.UNREADABLE)
    return found


def _long(document: bytes, most: int) -> Any:
    if len(document) > most and len(document) - len(document.translate(None, _SEPARATORS)) > most:
        raise AnswerTooLargeError(f"{most:,} values")
    return _lenient(document)


def _lenient(document: bytes) -> Any:
    """The JSON in ``document``: some servers write tabs and line feeds into its texts as they are."""
    text = document.decode(json.detect_encoding(document), "surrogatepass")
    return _LENIENT.decode(text.removeprefix("\ufeff"))


def _whole_number(text: str) -> int:
    """Parse an integer of limited length, because Python takes the square of its length."""
    return int(text[:_LONGEST_NUMBER])


_LENIENT = json.JSONDecoder(parse_int=_whole_number, strict=False)


def object_or_empty(value: object) -> dict[str, Any]:
    """Return ``value`` if it is a JSON object, else an empty dict. Servers may send any type in a field."""
    return value if isinstance(value, dict) else {}


def objects_in_list(value: object) -> list[dict[str, Any]]:
    """Return the JSON objects in the list ``value`` and leave out its other items; empty if it is not a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text_or_empty(value: object) -> str:
    """Return the text of a string, a text part, or a list of both (joined); an empty string for any other value."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return _text_of_part(value)
    return "".join(item if isinstance(item, str) else _text_of_part(item) for item in value)


def _text_of_part(part: object) -> str:
    part = object_or_empty(part)
    is_text = nonempty_string_or_none(part.get("type", "text")) in {"text", "output_text"}
    text = part.get("text")
    return text if is_text and isinstance(text, str) else ""


def nonempty_string_or_none(value: object) -> str | None:
    """Return ``value`` if it is a non-empty string, else None. It may be of any length: shorten it for logs."""
    return value if isinstance(value, str) and value else None


def parse_token_counts(value: object, field_names: Mapping[str, str | tuple[str, ...]]) -> dict[str, int]:
    """Read token counts from ``value``, a server's usage object; empty if it is not an object.

    The keys of ``field_names`` are the names in the result. Each value is the server's field name, or a
    tuple of alternatives, of which the first with a number is used.
    """
    found: dict[str, int] = {}
    if not isinstance(value, dict):
        return found
    for name, theirs in field_names.items():
        for item in (theirs,) if isinstance(theirs, str) else theirs:
            count = value.get(item)
            if type(count) is not int or not 0 <= count <= MOST_TOKENS:
                count = None if count is None else parse_count(count)
            if count is not None:
                found[name] = count
                break
    return found


def parse_count(value: object) -> int | None:
    """Parse a count or an index, 0 to `MOST_TOKENS`, also from a float or text; None if it is no such number."""
    if isinstance(value, str) and value.isdecimal() and len(value) <= _LONGEST_NUMBER:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_TOKENS:
        return None
    return int(value) if value == int(value) else None
