"""Parses tools, tool choice and response format into the form of Chat Completions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backend.utils.llm.structured import parse_response_format as parse_schema

from ..faults import InvalidRequestError
from ..fields import read_optional_field, read_required_field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MODES = frozenset({"auto", "none", "required"})
LONGEST_NAME = 128
LONGEST_NAME_OF_A_FORMAT = 64


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Which tools the model may call, and whether it has to call a tool.

    Attributes:
        mode: ``auto``, ``none``, ``required``, or the name of the tool to call; None if the request does not
            say.
        allowed: The names of the tools that may be called; None for all.
    """

    mode: str | None = None
    allowed: frozenset[str] | None = None

    def filter_allowed_tools(self, tools: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """Select the tools that the model may call.

        Args:
            tools: All tools of the request, in the form of Chat Completions.

        Raises:
            InvalidRequestError: The choice names an unknown tool, or requires a tool although there is none.
        """
        names = {tool["function"]["name"] for tool in tools}
        wanted = self.allowed or frozenset[str]()
        if self.mode is not None and self.mode not in MODES:
            wanted |= {self.mode}
        if missing := sorted(wanted - names):
            raise InvalidRequestError(
                f"`tool_choice` names {missing[0][:LONGEST_NAME]!r}, which is none of the tools.",
                "tool_choice",
            )
        if not tools and self.mode == "required":
            raise InvalidRequestError("`tool_choice` is required, and there are no tools.", "tool_choice")
        return (
            tools
            if self.allowed is None
            else [tool for tool in tools if tool["function"]["name"] in self.allowed]
        )


def parse_function_tool(
    definition: Mapping[str, Any], field_path: str, replacement_name: str | None = None
) -> dict[str, Any]:
    """Parse the definition of a function tool into the form of Chat Completions.

    Args:
        definition: The client's definition: ``name``, and optionally ``description``, ``parameters`` and
            ``strict``.
        field_path: The path of the definition in the request, for error messages.
        replacement_name: The function's new name; None to keep the name in the definition.

    Raises:
        InvalidRequestError: The definition is invalid.
    """
    within = f"{field_path}."
    own = read_tool_name(definition, within)
    function: dict[str, Any] = {"name": replacement_name or own}
    for field, kind in (("description", str), ("parameters", dict), ("strict", bool)):
        if (value := read_optional_field(definition, field, kind, within)) is not None:
            function[field] = value
    return {"type": "function", "function": function}


def read_tool_name(definition: Mapping[str, Any], path_prefix: str) -> str:
    """Get the name of a tool from its definition.

    Raises:
        InvalidRequestError: The name is missing, empty or too long.
    """
    name = read_required_field(definition, "name", str, path_prefix)
    if not name or len(name) > LONGEST_NAME:
        raise InvalidRequestError(
            f"`{path_prefix}name` has to have 1 to {LONGEST_NAME} characters.", f"{path_prefix}name"
        )
    return name


def parse_response_format(kind: str, definition: Mapping[str, Any], field_path: str) -> dict[str, Any] | None:
    """Parse the requested format of the answer into the form of Chat Completions. None for plain text.

    Args:
        kind: ``text``, ``json_object`` or ``json_schema``.
        definition: For ``json_schema``: ``name``, ``schema``, and optionally ``description`` and ``strict``.
        field_path: The path of the format in the request, for error messages.

    Raises:
        InvalidRequestError: ``kind`` is unknown, or the schema is invalid.
    """
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": kind}
    if kind != "json_schema":
        raise InvalidRequestError(
            f"`{field_path}.type` is `text`, `json_object` or `json_schema`.", f"{field_path}.type"
        )
    within = f"{field_path}."
    schema = read_required_field(definition, "schema", dict, within)
    if about := read_optional_field(definition, "description", str, within):
        schema = {"description": about, **schema}
    form: dict[str, Any] = {
        "name": read_required_field(definition, "name", str, within)[:LONGEST_NAME_OF_A_FORMAT],
        "schema": schema,
        "strict": read_optional_field(definition, "strict", bool, within),
    }
    wanted = {"type": kind, "json_schema": form}
    try:
        parse_schema(wanted)
    except (ValueError, TypeError, RecursionError):
        raise InvalidRequestError(
            f"`{within}schema` is no JSON Schema that can be checked.", f"{within}schema"
        ) from None
    return wanted


def to_langchain_tool_call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    """Make a tool call in LangChain's form, as a dict.

    The dict is an ``invalid_tool_call`` with an ``error`` if ``arguments`` is no JSON object.
    """
    try:
        read = json.loads(arguments, strict=False) if arguments else {}
    except (ValueError, RecursionError):
        read = None
    if isinstance(read, dict):
        return {"type": "tool_call", "id": call_id, "name": name, "args": read}
    fault = "The arguments are no JSON object."
    return {"type": "invalid_tool_call", "id": call_id, "name": name, "args": arguments, "error": fault}
