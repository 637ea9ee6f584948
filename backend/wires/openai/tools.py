"""Tools, tool choice and response format, in the form of Chat Completions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backend.utils.llm.structured import schema_of_response_format

from ..faults import InvalidRequestError
from ..fields import optional_field, required_field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MODES = frozenset({"auto", "none", "required"})
LONGEST_NAME = 128
LONGEST_NAME_OF_A_FORMAT = 64


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Which tools the model may call, and whether it has to call one.

    Attributes:
        mode: ``auto``, ``none``, ``required``, or a tool's name; None if the client said nothing.
        allowed: The names of the tools that may be called; None for all.
    """

    mode: str | None = None
    allowed: frozenset[str] | None = None

    def among(self, tools: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """Those of ``tools`` (in the form of Chat Completions) that the model may call.

        Raises:
            InvalidRequestError: The choice names an unknown tool.
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


def function_tool(described: Mapping[str, Any], place: str, name: str | None = None) -> dict[str, Any]:
    """A function tool in the form of Chat Completions.

    Args:
        described: The client's definition: ``name``, and maybe ``description``, ``parameters`` and ``strict``.
        place: The path of the definition in the request, for error messages.
        name: A name to use in place of the client's.

    Raises:
        InvalidRequestError: The definition is invalid.
    """
    within = f"{place}."
    own = tool_name(described, within)
    function: dict[str, Any] = {"name": name or own}
    for field, kind in (("description", str), ("parameters", dict), ("strict", bool)):
        if (value := optional_field(described, field, kind, within)) is not None:
            function[field] = value
    return {"type": "function", "function": function}


def tool_name(described: Mapping[str, Any], within: str) -> str:
    """The tool's name in ``described``.

    Raises:
        InvalidRequestError: The name is missing or too long.
    """
    name = required_field(described, "name", str, within)
    if not name or len(name) > LONGEST_NAME:
        raise InvalidRequestError(
            f"`{within}name` has to have 1 to {LONGEST_NAME} characters.", f"{within}name"
        )
    return name


def response_format(kind: str, described: Mapping[str, Any], place: str) -> dict[str, Any] | None:
    """The format of an answer in the form of Chat Completions; None if it is plain text.

    Args:
        kind: ``text``, ``json_object`` or ``json_schema``.
        described: For a schema: ``name``, ``schema``, and maybe ``description`` and ``strict``.
        place: The path of the format in the request, for error messages.

    Raises:
        InvalidRequestError: ``kind`` is unknown, or the schema is invalid.
    """
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": kind}
    if kind != "json_schema":
        raise InvalidRequestError(
            f"`{place}.type` is `text`, `json_object` or `json_schema`.", f"{place}.type"
        )
    within = f"{place}."
    schema = required_field(described, "schema", dict, within)
    if about := optional_field(described, "description", str, within):
        schema = {"description": about, **schema}
    form: dict[str, Any] = {
        "name": required_field(described, "name", str, within)[:LONGEST_NAME_OF_A_FORMAT],
        "schema": schema,
        "strict": optional_field(described, "strict", bool, within),
    }
    wanted = {"type": kind, "json_schema": form}
    try:
        schema_of_response_format(wanted)
    except (ValueError, TypeError, RecursionError):
        raise InvalidRequestError(
            f"`{within}schema` is no JSON Schema that can be checked.", f"{within}schema"
        ) from None
    return wanted


def tool_call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    """A tool call in LangChain's form: with ``error`` if its arguments are no JSON object."""
    try:
        read = json.loads(arguments, strict=False) if arguments else {}
    except (ValueError, RecursionError):
        read = None
    if isinstance(read, dict):
        return {"type": "tool_call", "id": call_id, "name": name, "args": read}
    fault = "The arguments are no JSON object."
    return {"type": "invalid_tool_call", "id": call_id, "name": name, "args": arguments, "error": fault}
