"""Parses the arguments of tool calls: a model's JSON, which may be incomplete, repeated, or encoded twice."""

from __future__ import annotations

import json
from typing import Any

from langchain_core.utils.json import parse_partial_json

from .surrogates import repair_json_surrogates

_LONGEST_WORD = len("false")
_LENIENT = json.JSONDecoder(strict=False)


def is_json(text: str) -> bool:
    """Whether ``text`` is valid JSON. An empty text is valid: it stands for an empty object."""
    try:
        json.loads(text or "{}", strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def is_json_prefix(text: str) -> bool:
    """Whether ``text`` is valid JSON or the beginning of it, such as arguments cut off by the token limit."""
    try:
        json.loads(text, strict=False)
    except json.JSONDecodeError as error:
        return error.msg.startswith("Unterminated string") or len(text) - error.pos <= _LONGEST_WORD
    except RecursionError:
        return False
    return True


def is_truncated_json_object(text: str) -> bool:
    """Whether ``text`` is an incomplete JSON object, which LangChain's parser would complete without an error."""
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


def parse_tool_arguments(text: str) -> Any:
    """Parse the arguments of a tool call. An empty text is an empty object.

    Tolerates what some servers send: an empty object before the arguments, the same arguments twice, or
    arguments that are encoded as JSON twice.

    Raises:
        ValueError: ``text`` is not JSON.
        RecursionError: ``text`` is nested too deeply.
    """
    text = repair_json_surrogates(text)
    try:
        found = json.loads(text or "{}", strict=False)
    except ValueError:
        found, end = _LENIENT.raw_decode(text)
        rest = text[end:]
        if found == {}:
            return parse_tool_arguments(rest)
        if rest.replace(text[:end], "").strip():
            raise
    return parse_tool_arguments(found) if isinstance(found, str) else found
