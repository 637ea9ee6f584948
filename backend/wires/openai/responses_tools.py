"""Tools of Responses as functions, and calls of these functions as calls of the tools they stand for.

A function in a namespace gets a name made of both names. A custom tool, which takes free text, becomes a function with
one text argument. Tools that OpenAI runs itself are left out, because they are not run here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..faults import InvalidRequestError
from ..fields import ignored_callers, objects, optional_field, required_field
from ..tool_names import check_names_differ
from .custom_tools import custom_function
from .tools import MODES, ToolChoice, function_tool, tool_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SEPARATOR: Final = "__"
LONGEST_NAME: Final = 64
"""The most characters of a function's name that all providers accept."""
_HASH_DIGITS: Final = 8


class Tool(NamedTuple):
    """The client's tool behind a function, which the answer has to name in place of the function."""

    name: str
    namespace: str | None = None
    is_custom: bool = False


@dataclass(slots=True)
class Tools:
    """Translates the tools of one request to functions, and finds the tool again when the model calls a function.

    Attributes:
        functions: The functions, in the form of Chat Completions.
        by_name: The client's tool behind each function, by the function's name.
        ignored: The types of tools that are left out.
    """

    functions: list[dict[str, Any]] = field(default_factory=list)
    by_name: dict[str, Tool] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)

    def tool(self, function: str) -> Tool:
        """The client's tool behind ``function``; for a function that is not in the request, a tool of the same name."""
        return self.by_name.get(function) or Tool(function)

    def _add(self, tool: Tool, function: dict[str, Any]) -> None:
        self.functions.append(function)
        self.by_name[function["function"]["name"]] = tool

    def read(self, described: Sequence[Any], place: str, namespace: str | None = None) -> None:
        """Add the tools of one list.

        Args:
            described: The client's definitions of the tools.
            place: The path of the list in the request, for error messages.
            namespace: The namespace that the tools belong to; None for none.

        Raises:
            InvalidRequestError: The definition of a tool is invalid.
        """
        for tool, at in objects(described, place):
            self._read_one(tool, at, namespace)

    def _read_one(self, tool: Mapping[str, Any], place: str, namespace: str | None) -> None:
        within = f"{place}."
        match required_field(tool, "type", str, within):
            case "function":
                name = tool_name(tool, within)
                self.ignored += ignored_callers(tool, within)
                self._add(Tool(name, namespace), function_tool(tool, place, function_name(name, namespace)))
            case "custom":
                name = tool_name(tool, within)
                self._add(Tool(name, namespace, is_custom=True), _custom(tool, within, namespace))
            case "namespace" if namespace is None:
                self.read(
                    required_field(tool, "tools", list, within), f"{within}tools", tool_name(tool, within)
                )
            case kind:
                self.ignored.append(kind)


def read_tools(described: Sequence[tuple[Sequence[Any], str]]) -> Tools:
    """Parse all ``described`` lists of tools; each comes with its path for error messages.

    Raises:
        InvalidRequestError: A tool's description is invalid, or two tools have the same name.
    """
    tools = Tools()
    for some, place in described:
        tools.read(some, place)
    check_names_differ(tools.functions)
    return tools


def function_name(name: str, namespace: str | None) -> str:
    """The name of the function that stands for a tool: the tool's name, with its namespace before it, if it has one.

    A namespaced name that would be too long is shortened, and ends with a hash.
    """
    whole = f"{namespace}{SEPARATOR}{name}" if namespace else name
    if len(whole) <= LONGEST_NAME or not namespace:
        return whole
    digits = hashlib.sha256(whole.encode(errors="replace")).hexdigest()[:_HASH_DIGITS]
    return f"{whole[: LONGEST_NAME - _HASH_DIGITS - 1]}_{digits}"


def _custom(tool: Mapping[str, Any], within: str, namespace: str | None) -> dict[str, Any]:
    name = function_name(tool_name(tool, within), namespace)
    form = optional_field(tool, "format", dict, within) or {}
    return custom_function(
        name, optional_field(tool, "description", str, within) or "", form, f"{within}format."
    )


def read_choice(value: Any, tools: Tools) -> ToolChoice:
    """Parse ``tool_choice``: which of ``tools`` may be called.

    Raises:
        InvalidRequestError: ``value`` is no valid choice, or names a tool that is not served.
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
    return function_name(
        required_field(value, "name", str, within), optional_field(value, "namespace", str, within)
    )


def _allowed(value: Mapping[str, Any], tools: Tools) -> ToolChoice:
    mode = required_field(value, "mode", str, "tool_choice.")
    if mode not in {"auto", "required"}:
        raise InvalidRequestError("`tool_choice.mode` is `auto` or `required`.", "tool_choice.mode")
    place = "tool_choice.tools"
    chosen = [
        _chosen(one, f"{at}.")
        for one, at in objects(required_field(value, "tools", list, "tool_choice."), place)
        if one.get("type") in ("function", "custom")
    ]
    return ToolChoice(mode, frozenset(chosen)) if chosen or not tools.ignored else ToolChoice("none")
