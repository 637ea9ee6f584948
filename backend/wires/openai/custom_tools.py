"""OpenAI's custom tools, which take plain text, as functions of one text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from ..fields import optional_field

if TYPE_CHECKING:
    from collections.abc import Mapping

_INPUT: Final = "input"
"""The name of the function's only argument."""


def custom_function(name: str, about: str, grammar: Mapping[str, Any], within: str) -> dict[str, Any]:
    """The function for a custom tool, in the form of Chat Completions.

    Args:
        name: The function's name.
        about: The tool's description.
        grammar: The ``definition`` and ``syntax`` of the tool's input, or nothing. The model is told, and nobody else enforces it.
        within: The path of the grammar in the request, for error messages.

    Raises:
        InvalidRequestError: The grammar is invalid.
    """
    if definition := optional_field(grammar, "definition", str, within):
        syntax = optional_field(grammar, "syntax", str, within) or "grammar"
        about = f"{about}\n\nThe input follows this grammar ({syntax}):\n{definition}".strip()
    text = {"type": "string", "description": "The whole input, as plain text."}
    parameters = {
        "type": "object",
        "properties": {_INPUT: text},
        "required": [_INPUT],
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "description": about, "parameters": parameters}}


def custom_arguments(text: str) -> str:
    """Wrap the plain-text input of a custom tool into the JSON arguments of the function that stands for the tool."""
    return json.dumps({_INPUT: text})


def custom_input(arguments: str) -> str:
    """The plain-text input in the arguments of a custom tool's function; ``arguments`` itself if they have another form."""
    try:
        read = json.loads(arguments, strict=False)
    except (ValueError, RecursionError):
        return arguments
    found = read.get(_INPUT) if isinstance(read, dict) else None
    return found if isinstance(found, str) else arguments
