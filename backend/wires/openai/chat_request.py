"""Parses requests of Chat Completions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..faults import InvalidRequestError
from ..fields import (
    UNMODERATED,
    find_ignored_service_tier,
    find_unknown_fields,
    iter_objects_with_paths,
    read_model_name,
    read_model_options,
    read_optional_field,
    read_required_field,
    reject_unsupported_fields,
)
from ..request import CompletionRequest
from ..tool_names import check_tool_names_unique
from .chat_messages import parse_chat_messages
from .custom_tools import make_custom_tool_function
from .tools import MODES, ToolChoice, parse_function_tool, parse_response_format, read_tool_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_CHOICES: Final = 8
MOST_STOPS: Final = 16
_REFUSED: Final = {
    "functions": "`functions` is not served any more. Use `tools`.",
    "function_call": "`function_call` is not served any more. Use `tool_choice`.",
    "moderation": UNMODERATED,
}
_CALLED: Final = ("function", "custom")
_OPTIONS: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "reasoning_effort": "effort",
    "verbosity": "verbosity",
    "logprobs": "logprobs",
    "top_logprobs": "top_logprobs",
}
_KNOWN: Final = frozenset(_OPTIONS) | {
    *("model", "messages", "tools", "tool_choice", "parallel_tool_calls", "response_format", "stop", "n"),
    *("stream", "stream_options", "prompt_cache_key", "metadata", "user", "safety_identifier"),
    *("service_tier", "prompt_cache_retention", "prompt_cache_options", "modalities"),
}


def parse_chat_request(body: Mapping[str, Any]) -> CompletionRequest:
    """Parse the JSON body of a Chat Completions request.

    Raises:
        InvalidRequestError: ``body`` is no valid request.
    """
    reject_unsupported_fields(body, _REFUSED)
    _refuse_sounds(body)
    tools = _tools(read_optional_field(body, "tools", list) or [])
    choice = _tool_choice(body.get("tool_choice"))
    form = read_optional_field(body, "response_format", dict) or {"type": "text"}
    return CompletionRequest(
        model=read_model_name(body),
        messages=parse_chat_messages(read_required_field(body, "messages", list)),
        tools=choice.filter_allowed_tools(tools.functions),
        tool_choice=choice.mode if tools.functions else None,
        parallel_tool_calls=read_optional_field(body, "parallel_tool_calls", bool),
        response_format=parse_response_format(
            read_required_field(form, "type", str, "response_format."),
            read_optional_field(form, "json_schema", dict, "response_format.") or {},
            "response_format",
        ),
        options=read_model_options({**body, "top_logprobs": body.get("top_logprobs") or None}, _OPTIONS),
        stop=_stops(body.get("stop")),
        choices=_choices(body),
        streams=read_optional_field(body, "stream", bool) or False,
        cache_key=read_optional_field(body, "prompt_cache_key", str),
        metadata=read_optional_field(body, "metadata", dict) or {},
        ignored=[*_ignored(body), *tools.ignored],
        text_tools=frozenset(tools.custom),
    )


def _ignored(body: Mapping[str, Any]) -> list[str]:
    """The names of what is not served. An empty object asks for nothing, except of a search."""
    searches = ["web_search_options"] if body.get("web_search_options") == {} else []
    tier = find_ignored_service_tier(read_optional_field(body, "service_tier", str))
    return [*find_unknown_fields(body, _KNOWN), *tier, *searches]


def _refuse_sounds(body: Mapping[str, Any]) -> None:
    if set(map(str, read_optional_field(body, "modalities", list) or ())) - {"text"}:
        raise InvalidRequestError(
            "Answers are texts here: `modalities` may hold `text` only.", "modalities", "unsupported_value"
        )


def _choices(body: Mapping[str, Any]) -> int:
    wanted = read_optional_field(body, "n", int)
    if wanted is not None and not 1 <= wanted <= MOST_CHOICES:
        raise InvalidRequestError(f"`n` has to be from 1 to {MOST_CHOICES}.", "n")
    return wanted or 1


def _stops(value: object) -> list[str]:
    words = [value] if isinstance(value, str) else value or []
    if (
        not isinstance(words, list)
        or len(words) > MOST_STOPS
        or not all(isinstance(word, str) for word in words)
    ):
        raise InvalidRequestError(f"`stop` has to be a text, or up to {MOST_STOPS} of them.", "stop")
    return [word for word in words if word]


# Tools ---------------------------------------------------------------------------------------------------------------


class _Tools(NamedTuple):
    """The functions in the form of Chat Completions, the names of those that are custom tools, and the types of tools that are not run here."""

    functions: list[dict[str, Any]]
    custom: list[str]
    ignored: list[str]


def _tools(described: Sequence[Any]) -> _Tools:
    tools = _Tools([], [], [])
    for tool, place in iter_objects_with_paths(described, "tools"):
        match read_required_field(tool, "type", str, f"{place}."):
            case "function":
                function = read_required_field(tool, "function", dict, f"{place}.")
                tools.functions.append(parse_function_tool(function, f"{place}.function"))
            case "custom":
                custom = read_required_field(tool, "custom", dict, f"{place}.")
                tools.functions.append(_custom(custom, f"{place}.custom."))
                tools.custom.append(custom["name"])
            case kind:
                tools.ignored.append(kind)
    check_tool_names_unique(tools.functions)
    return tools


def _custom(tool: Mapping[str, Any], within: str) -> dict[str, Any]:
    form = read_optional_field(tool, "format", dict, within) or {}
    grammar = read_optional_field(form, "grammar", dict, f"{within}format.") or {}
    about = read_optional_field(tool, "description", str, within) or ""
    return make_custom_tool_function(read_tool_name(tool, within), about, grammar, f"{within}format.grammar.")


def _tool_choice(value: Any) -> ToolChoice:
    if value is None or (isinstance(value, str) and value in MODES):
        return ToolChoice(value)
    if isinstance(value, dict) and value.get("type") in _CALLED:
        return ToolChoice(_called(value, "tool_choice."))
    if isinstance(value, dict) and value.get("type") == "allowed_tools":
        allowed = read_required_field(value, "allowed_tools", dict, "tool_choice.")
        place = "tool_choice.allowed_tools"
        tools = iter_objects_with_paths(
            read_required_field(allowed, "tools", list, f"{place}."), f"{place}.tools"
        )
        return ToolChoice(
            _mode(allowed, f"{place}."), frozenset(_called(tool, f"{at}.") for tool, at in tools)
        )
    raise InvalidRequestError(
        "`tool_choice` is `auto`, `none`, `required`, a function, a custom tool, or some allowed tools.",
        "tool_choice",
    )


def _called(tool: Mapping[str, Any], within: str) -> str:
    """The name of a function or a custom tool."""
    kind = "custom" if tool.get("type") == "custom" else "function"
    return read_required_field(read_required_field(tool, kind, dict, within), "name", str, f"{within}{kind}.")


def _mode(allowed: Mapping[str, Any], within: str) -> str:
    mode = read_required_field(allowed, "mode", str, within)
    if mode not in MODES:
        raise InvalidRequestError(f"`{within}mode` is `auto` or `required`.", f"{within}mode")
    return mode
