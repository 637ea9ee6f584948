"""Reads JSON of untrusted servers, whatever its content, within bounds of time and size."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..failures import BadAnswer, Category
from ..transport import ExcessError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..transport import Trust

SHORT = 4096
"""The size in bytes up to which a document's values are not counted, because there cannot be too many."""
MOST_TOKENS = 10**12
_SEPARATORS = b",:[{"
_LONGEST_NUMBER = 20


def read_document(document: bytes, trust: Trust) -> dict[str, Any]:
    """The JSON object in ``document``, or in a list with this one object, as Google sends errors.

    Raises:
        BadAnswer: ``document`` holds something else.
        ExcessError: ``document`` has more values than ``trust`` permits.
        ValueError: ``document`` is no JSON.
    """
    try:
        found = json.loads(document) if len(document) <= SHORT else _long(document, trust.most_values)
    except json.JSONDecodeError:
        found = _lenient(document)
    if isinstance(found, list) and len(found) == 1:
        (found,) = found
    if not isinstance(found, dict):
        raise BadAnswer(Category.UNREADABLE)
    return found


def read_documents(body: bytes, trust: Trust) -> list[dict[str, Any]]:
    """The JSON objects in ``body``: usually one, but some servers send several in a list, or one in each line.

    Raises:
        BadAnswer: ``body`` holds something other than objects.
        ExcessError: ``body`` has more values than ``trust`` permits.
        ValueError: ``body`` is no JSON.
    """
    try:
        found = json.loads(body) if len(body) <= SHORT else _long(body, trust.most_values)
    except ValueError as error:
        if not str(error).startswith("Extra data"):
            return [read_document(body, trust)]
        return [read_document(line, trust) for line in body.splitlines() if line.strip()]
    if isinstance(found, dict):
        return [found]
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise BadAnswer(Category.UNREADABLE)
    return found


def _long(document: bytes, most: int) -> Any:
    if len(document) > most and len(document) - len(document.translate(None, _SEPARATORS)) > most:
        raise ExcessError(f"{most:,} values")
    return _lenient(document)


def _lenient(document: bytes) -> Any:
    """The JSON in ``document``: some servers write tabs and line feeds into its texts as they are."""
    text = document.decode(json.detect_encoding(document), "surrogatepass")
    return _LENIENT.decode(text.removeprefix("\ufeff"))


def _whole_number(text: str) -> int:
    """Parse an integer of limited length, because Python takes the square of its length."""
    return int(text[:_LONGEST_NUMBER])


_LENIENT = json.JSONDecoder(parse_int=_whole_number, strict=False)


def as_object(value: object) -> dict[str, Any]:
    """``value`` if it is a JSON object; else an empty one, because a server may send anything in a field."""
    return value if isinstance(value, dict) else {}


def as_objects(value: object) -> list[dict[str, Any]]:
    """The JSON objects in ``value`` if it is a list, without its other items; else an empty list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def as_text(value: object) -> str:
    """The text in ``value``: a string itself, or the joined texts of a content part or of a list of parts; else empty."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return _text_of_part(value)
    return "".join(one if isinstance(one, str) else _text_of_part(one) for one in value)


def _text_of_part(part: object) -> str:
    part = as_object(part)
    is_text = as_name(part.get("type", "text")) in {"text", "output_text"}
    text = part.get("text")
    return text if is_text and isinstance(text, str) else ""


def as_name(value: object) -> str | None:
    """``value`` if it is a non-empty text, such as an id or a name; else None.

    The text may be of any length: shorten it for logs.
    """
    return value if isinstance(value, str) and value else None


def as_counts(value: object, names: Mapping[str, str | tuple[str, ...]]) -> dict[str, int]:
    """The token counts in ``value``, if it is an object, by our names.

    ``names`` maps our names to the server's, or to several of which the first present counts.
    """
    found: dict[str, int] = {}
    if not isinstance(value, dict):
        return found
    for name, theirs in names.items():
        for one in (theirs,) if isinstance(theirs, str) else theirs:
            count = value.get(one)
            if type(count) is not int or not 0 <= count <= MOST_TOKENS:
                count = None if count is None else as_count(count)
            if count is not None:
                found[name] = count
                break
    return found


def as_count(value: object) -> int | None:
    """The number of tokens in ``value``, which some servers send as float or text; None if ``value`` is no number."""
    if isinstance(value, str) and value.isdecimal() and len(value) <= _LONGEST_NUMBER:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_TOKENS:
        return None
    return int(value) if value == int(value) else None
