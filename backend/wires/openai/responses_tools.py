"""Translates the tools of a Responses request into functions, and calls of these functions into calls of the tools.

The name of a function includes the tool's namespace, if there is one. A custom tool, which takes free
text, becomes a function with one text argument. Tools that OpenAI runs itself are left out, because they
are not run here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..faults import InvalidRequestError
from ..fields import (
    find_ignored_allowed_callers,
    iter_objects_with_paths,
    read_optional_field,
    read_required_field,
)
from ..tool_names import check_tool_names_unique
from .custom_tools import make_custom_tool_function
from .tools import MODES, ToolChoice, parse_function_tool, read_tool_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SEPARATOR: Final = "__"
LONGEST_NAME: Final = 64
"""The most characters of a function's name that all providers accept."""
_HASH_DIGITS: Final = 8


class ClientTool(NamedTuple):
    """A tool as the client defined it. The model sees a function in its place, but answers name the client's tool."""

    name: str
    namespace: str | None = None
    is_custom: bool = False


@dataclass(slots=True)
class ToolTranslator:
    """Translates the tools of one request to functions, and functions that the model calls back to the client's tools.

    Attributes:
        functions: The functions, in the form of Chat Completions.
        by_name: The client's tool for each function, by the function's name.
        ignored: The types of tools that are left out.
    """

    functions: list[dict[str, Any]] = field(default_factory=list)
    by_name: dict[str, ClientTool] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)

    def find_client_tool(self, function_name: str) -> ClientTool:
        """Find the client's tool for the function that the model has called.

        A function that is not in the request is taken for a tool of the same name.
        """
        return self.by_name.get(function_name) or ClientTool(function_name)

    def _add(self, tool: ClientTool, function: dict[str, Any]) -> None:
        self.functions.append(function)
        self.by_name[function["function"]["name"]] = tool

    def add_tools(self, definitions: Sequence[Any], field_path: str, namespace: str | None = None) -> None:
        """Parse a list of tool definitions, and add the tools.

        Args:
            definitions: The tool definitions, as JSON objects.
            field_path: The path of the list in the request, for error messages.
            namespace: The namespace of the tools; None for none.

        Raises:
            InvalidRequestError: The definition of a tool is invalid.
        """
        for tool, at in iter_objects_with_paths(definitions, field_path):
            self._read_one(tool, at, namespace)

    def _read_one(self, tool: Mapping[str, Any], place: str, namespace: str | None) -> None:
        within = f"{place}."
        match read_required_field(tool, "type", str, within):
            case "function":
                name = read_tool_name(tool, within)
                self.ignored += find_ignored_allowed_callers(tool, within)
                self._add(
                    ClientTool(name, namespace),
                    parse_function_tool(tool, place, make_function_name(name, namespace)),
                )
            case "custom":
                name = read_tool_name(tool, within)
                self._add(ClientTool(name, namespace, is_custom=True), _custom(tool, within, namespace))
            case "namespace" if namespace is None:
                self.add_tools(
                    read_required_field(tool, "tools", list, within),
                    f"{within}tools",
                    read_tool_name(tool, within),
                )
            case kind:
                self.ignored.append(kind)


def parse_tools(tool_lists: Sequence[tuple[Sequence[Any], str]]) -> ToolTranslator:
    """Parse all tool definitions of a request.

    Args:
        tool_lists: The lists of tool definitions, each with its path in the request for error messages.

    Raises:
        InvalidRequestError: A definition is invalid, or two tools have the same name.
    """
    tools = ToolTranslator()
    for some, place in tool_lists:
        tools.add_tools(some, place)
    check_tool_names_unique(tools.functions)
    return tools


def make_function_name(name: str, namespace: str | None) -> str:
    """Make the name of the function that replaces a tool: the tool's name, preceded by its namespace if it has one.

    A name with a namespace that would be too long is shortened, and ends with a hash.
    """
    whole = f"{namespace}{SEPARATOR}{name}" if namespace else name
    if len(whole) <= LONGEST_NAME or not namespace:
        return whole
    digits = hashlib.sha256(whole.encode(errors="replace")).hexdigest()[:_HASH_DIGITS]
    return f"{whole[: LONGEST_NAME - _HASH_DIGITS - 1]}_{digits}"


def _custom(tool: Mapping[str, Any], within: str, namespace: str | None) -> dict[str, Any]:
    name = make_function_name(read_tool_name(tool, within), namespace)
    form = read_optional_field(tool, "format", dict, within) or {}
    return make_custom_tool_function(
        name, read_optional_field(tool, "description", str, within) or "", form, f"{within}format."
    )


def parse_tool_choice(value: Any, tools: ToolTranslator) -> ToolChoice:
    """Parse ``tool_choice``: which of the request's ``tools`` the model may call.

    Raises:
        InvalidRequestError: ``value`` is no valid choice, or names a tool of a type that is not supported
            here.
    """
    if value is None or (isinstance(value, str) and value in MODES):
        return ToolChoice(value)
    if not isinstance(value, dict):
        raise InvalidRequestError("`tool_choice` is `auto`, `none`, `required`, or an object.", "tool_choice")
    match value.get("type"):
        case "function" | "custom":
            return ToolChoice(_chosen(value, "tool_choice."))
        case "allowed_tools":
            return _allowed(value, tools)
        case _:
            raise InvalidRequestError(
                "`tool_choice` names a tool that is not served here: only functions are.",
                "tool_choice",
                "unsupported_parameter",
            )


def _chosen(value: Mapping[str, Any], within: str) -> str:
    return make_function_name(
        read_required_field(value, "name", str, within), read_optional_field(value, "namespace", str, within)
    )


def _allowed(value: Mapping[str, Any], tools: ToolTranslator) -> ToolChoice:
    mode = read_required_field(value, "mode", str, "tool_choice.")
    if mode not in {"auto", "required"}:
        raise InvalidRequestError("`tool_choice.mode` is `auto` or `required`.", "tool_choice.mode")
    place = "tool_choice.tools"
    chosen = [
        _chosen(item, f"{at}.")
        for item, at in iter_objects_with_paths(
            read_required_field(value, "tools", list, "tool_choice."), place
        )
        if item.get("type") in ("function", "custom")
    ]
    return ToolChoice(mode, frozenset(chosen)) if chosen or not tools.ignored else ToolChoice("none")
