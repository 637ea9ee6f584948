"""Translates OpenAI's custom tools, whose input is plain text, into functions with one text argument."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from ..fields import read_optional_field

if TYPE_CHECKING:
    from collections.abc import Mapping

_INPUT: Final = "input"
"""The name of the function's only argument."""


def make_custom_tool_function(
    name: str, description: str, grammar: Mapping[str, Any], path_prefix: str
) -> dict[str, Any]:
    """Build the function tool that replaces one of OpenAI's custom tools, in the form of Chat Completions.

    The function has one argument: the plain text that the custom tool takes.

    Args:
        name: The name of the function.
        description: The description of the custom tool.
        grammar: The ``definition`` and ``syntax`` of the tool's input; empty for free text. The grammar is
            only added to the description for the model: nothing checks that the model follows it.
        path_prefix: The path of the grammar in the request, with a dot at its end, for error messages.

    Raises:
        InvalidRequestError: A field of the grammar is no text.
    """
    if definition := read_optional_field(grammar, "definition", str, path_prefix):
        syntax = read_optional_field(grammar, "syntax", str, path_prefix) or "grammar"
        description = f"{description}\n\nThe input follows this grammar ({syntax}):\n{definition}".strip()
    text = {"type": "string", "description": "The whole input, as plain text."}
    parameters = {
        "type": "object",
        "properties": {_INPUT: text},
        "required": [_INPUT],
        "additionalProperties": False,
    }
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    }


def wrap_custom_input(text: str) -> str:
    """Wrap a custom tool's plain-text input into JSON arguments, as the function that replaces the tool takes them."""
    return json.dumps({_INPUT: text})


def unwrap_custom_input(arguments: str) -> str:
    """Get a custom tool's plain-text input from the JSON arguments of the function that replaces the tool.

    Returns ``arguments`` unchanged if they do not have that form. The reverse of `wrap_custom_input`.
    """
    try:
        read = json.loads(arguments, strict=False)
    except (ValueError, RecursionError):
        return arguments
    found = read.get(_INPUT) if isinstance(read, dict) else None
    return found if isinstance(found, str) else arguments
