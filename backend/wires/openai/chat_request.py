"""Reads requests of Chat Completions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import AIMessage, FunctionMessage, HumanMessage, SystemMessage, ToolMessage

from ..bodies import check_embedded
from ..faults import InvalidRequestError
from ..fields import ignored_in, model_name, objects, options_from, required, taken
from ..request import CompletionRequest
from .content import content_of
from .tools import MODES, ToolChoice, check_names_differ, function_tool, response_format, tool_call

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

MOST_CHOICES: Final = 8
MOST_STOPS: Final = 16
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
    *("service_tier", "prompt_cache_retention"),  # how urgent and how dear a call is, the table says
}
_PARTS: Final = {
    "text": ("text", str),
    "refusal": ("refusal", str),
    "image_url": ("image_url", dict),
    "input_audio": ("input_audio", dict),
    "file": ("file", dict),
}


def read_chat(body: Mapping[str, Any]) -> CompletionRequest:
    """Parse ``body`` as a request of Chat Completions.

    Raises:
        InvalidRequestError: ``body`` is no valid request.
    """
    _refuse_functions(body)
    tools, ignored = _tools(taken(body, "tools", list) or [])
    choice = _tool_choice(body.get("tool_choice"))
    form = taken(body, "response_format", dict) or {"type": "text"}
    return CompletionRequest(
        model=model_name(body),
        messages=_messages(required(body, "messages", list)),
        tools=choice.among(tools),
        tool_choice=choice.mode if tools else None,
        parallel_tool_calls=taken(body, "parallel_tool_calls", bool),
        response_format=response_format(
            required(form, "type", str, "response_format."),
            taken(form, "json_schema", dict, "response_format.") or {},
            "response_format",
        ),
        options=options_from({**body, "top_logprobs": body.get("top_logprobs") or None}, _OPTIONS),
        stop=_stops(body.get("stop")),
        choices=_choices(body),
        streams=taken(body, "stream", bool) or False,
        cache_key=taken(body, "prompt_cache_key", str),
        metadata=taken(body, "metadata", dict) or {},
        ignored=[*ignored_in(body, _KNOWN), *ignored],
    )


def _refuse_functions(body: Mapping[str, Any]) -> None:
    for old, new in (("functions", "tools"), ("function_call", "tool_choice")):
        if body.get(old) is not None:
            raise InvalidRequestError(
                f"`{old}` is not served any more. Use `{new}`.", old, "unsupported_parameter"
            )


def _choices(body: Mapping[str, Any]) -> int:
    wanted = taken(body, "n", int)
    if wanted is not None and not 1 <= wanted <= MOST_CHOICES:
        raise InvalidRequestError(f"`n` has to be from 1 to {MOST_CHOICES}.", "n")
    return wanted or 1


def _stops(value: object) -> list[str]:
    words = [value] if isinstance(value, str) else value or []
    if (
        not isinstance(words, list)
        or len(words) > MOST_STOPS
        or not all(isinstance(one, str) for one in words)
    ):
        raise InvalidRequestError(f"`stop` has to be a text, or up to {MOST_STOPS} of them.", "stop")
    return [word for word in words if word]


# Tools ---------------------------------------------------------------------------------------------------------------


def _tools(described: Sequence[Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """The functions, and the types of other tools, which are not run here."""
    tools, ignored = [], []
    for tool, place in objects(described, "tools"):
        kind = required(tool, "type", str, f"{place}.")
        if kind == "function":
            tools.append(function_tool(required(tool, "function", dict, f"{place}."), f"{place}.function"))
        else:
            ignored += ignored_in({kind: True}, frozenset())
    check_names_differ(tools)
    return tools, ignored


def _tool_choice(value: Any) -> ToolChoice:
    if value is None or (isinstance(value, str) and value in MODES):
        return ToolChoice(value)
    if isinstance(value, dict) and value.get("type") == "function":
        function = required(value, "function", dict, "tool_choice.")
        return ToolChoice(required(function, "name", str, "tool_choice.function."))
    if isinstance(value, dict) and value.get("type") == "allowed_tools":
        allowed = required(value, "allowed_tools", dict, "tool_choice.")
        place = "tool_choice.allowed_tools"
        names = [
            required(required(tool, "function", dict, f"{at}."), "name", str, f"{at}.function.")
            for tool, at in objects(required(allowed, "tools", list, f"{place}."), f"{place}.tools")
        ]
        return ToolChoice(_mode(allowed, f"{place}."), frozenset(names))
    raise InvalidRequestError(
        "`tool_choice` is `auto`, `none`, `required`, a function, or some allowed tools.", "tool_choice"
    )


def _mode(allowed: Mapping[str, Any], within: str) -> str:
    mode = required(allowed, "mode", str, within)
    if mode not in MODES:
        raise InvalidRequestError(f"`{within}mode` is `auto` or `required`.", f"{within}mode")
    return mode


# Messages ------------------------------------------------------------------------------------------------------------


def _messages(described: Sequence[Any]) -> list[BaseMessage]:
    if not described:
        raise InvalidRequestError("`messages` is empty.", "messages")
    check_embedded(_arguments(described), "messages")
    return [_message(message, place) for message, place in objects(described, "messages")]


def _arguments(described: Sequence[Any]) -> Iterator[object]:
    """The arguments of all calls, as far as they are where they should be."""
    messages = (message for message in described if isinstance(message, dict))
    for calls in (message.get("tool_calls") for message in messages):
        for call in calls if isinstance(calls, list) else ():
            function = call.get("function") if isinstance(call, dict) else None
            yield function.get("arguments") if isinstance(function, dict) else None


def _message(message: Mapping[str, Any], place: str) -> BaseMessage:
    within = f"{place}."
    content, name = (
        content_of(message.get("content"), f"{within}content", _PARTS),
        taken(message, "name", str, within),
    )
    match required(message, "role", str, within):
        case "user":
            return HumanMessage(content, name=name)
        case "system" | "developer":
            return SystemMessage(content, name=name)
        case "assistant":
            return _models_turn(message, content, name, within)
        case "tool":
            return ToolMessage(content, tool_call_id=required(message, "tool_call_id", str, within))
        case "function":
            return FunctionMessage(content=content, name=required(message, "name", str, within))
        case _:
            raise InvalidRequestError(
                f"`{within}role` is `system`, `developer`, `user`, `assistant` or `tool`.", f"{within}role"
            )


def _models_turn(message: Mapping[str, Any], content: Any, name: str | None, within: str) -> AIMessage:
    extras = {
        field: value
        for field in ("refusal", "reasoning_content")
        if (value := taken(message, field, str, within)) is not None
    }
    good: list[Any] = []
    bad: list[Any] = []
    for call, place in objects(taken(message, "tool_calls", list, within) or [], f"{within}tool_calls"):
        function = required(call, "function", dict, f"{place}.")
        made = tool_call(
            required(call, "id", str, f"{place}."),
            required(function, "name", str, f"{place}.function."),
            taken(function, "arguments", str, f"{place}.function.") or "",
        )
        (bad if "error" in made else good).append(made)
    return AIMessage(content, name=name, tool_calls=good, invalid_tool_calls=bad, additional_kwargs=extras)
