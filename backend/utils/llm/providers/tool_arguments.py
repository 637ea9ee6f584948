"""The arguments of tool calls: JSON that a model wrote, which may be incomplete, repeated, or encoded twice."""

from __future__ import annotations

import json
from typing import Any

from langchain_core.utils.json import parse_partial_json

from .surrogates import whole_json

_LONGEST_WORD = len("false")
_LENIENT = json.JSONDecoder(strict=False)


def is_json(text: str) -> bool:
    """Whether ``text`` is JSON; an empty text counts as an empty object."""
    try:
        json.loads(text or "{}", strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def is_begun_json(text: str) -> bool:
    """Whether ``text`` is JSON or the beginning of JSON, as of a tool call in an answer cut off by its token limit."""
    try:
        json.loads(text, strict=False)
    except json.JSONDecodeError as error:
        return error.msg.startswith("Unterminated string") or len(text) - error.pos <= _LONGEST_WORD
    except RecursionError:
        return False
    return True


def lacks_its_end(text: str) -> bool:
    """Whether ``text`` is an incomplete JSON object that LangChain would complete by itself."""
    try:
        json.loads(text or "{}", strict=False)
    except json.JSONDecodeError as error:
        return not error.msg.startswith("Extra data") and _is_closed_by_langchain(text)
    except RecursionError:
        return False
    return False


def _is_closed_by_langchain(text: str) -> bool:
    try:
        return isinstance(parse_partial_json(text), dict)
    except (ValueError, RecursionError):
        return False


def read_arguments(text: str) -> Any:
    """The parsed arguments of a tool call; an empty text is an empty object.

    Some servers send an empty object before the arguments, or repeat the arguments, or encode them as JSON twice.

    Raises:
        ValueError: ``text`` is no JSON.
        RecursionError: ``text`` is nested too deeply.
    """
    text = whole_json(text)
    try:
        found = json.loads(text or "{}", strict=False)
    except ValueError:
        found, end = _LENIENT.raw_decode(text)
        rest = text[end:]
        if found == {}:
            return read_arguments(rest)
        if rest.replace(text[:end], "").strip():
            raise
    return read_arguments(found) if isinstance(found, str) else found
