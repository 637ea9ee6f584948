"""Parses the messages of a Chat Completions request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import AIMessage, FunctionMessage, HumanMessage, SystemMessage, ToolMessage

from ..bodies import check_embedded_json_size
from ..faults import InvalidRequestError
from ..fields import iter_objects_with_paths, read_optional_field, read_required_field
from .content import check_message_content
from .custom_tools import wrap_custom_input
from .tools import to_langchain_tool_call

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

_PARTS: Final = {
    "text": ("text", str),
    "refusal": ("refusal", str),
    "image_url": ("image_url", dict),
    "input_audio": ("input_audio", dict),
    "file": ("file", dict),
}


def parse_chat_messages(messages: Sequence[Any]) -> list[BaseMessage]:
    """Parse the ``messages`` of a Chat Completions request into LangChain's messages.

    Raises:
        InvalidRequestError: There are no messages, or a message is invalid.
    """
    if not messages:
        raise InvalidRequestError("`messages` is empty.", "messages")
    check_embedded_json_size(_arguments(messages), "messages")
    return [_message(message, place) for message, place in _as_of_today(messages)]


def _as_of_today(described: Sequence[Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Each message with its path. A ``function_call`` of older clients becomes a tool call, and the next message of the function its result."""
    calls: dict[str, str] = {}
    for number, (message, place) in enumerate(iter_objects_with_paths(described, "messages")):
        function = read_optional_field(message, "function_call", dict, f"{place}.")
        name = message.get("name")
        if function is not None and message.get("tool_calls") in (None, []):
            called = read_required_field(function, "name", str, f"{place}.function_call.")
            calls[called] = f"call_{number}"
            call = {"id": calls[called], "type": "function", "function": function}
            yield {**message, "tool_calls": [call]}, place
        elif message.get("role") == "function" and isinstance(name, str) and name in calls:
            yield {**message, "role": "tool", "tool_call_id": calls.pop(name)}, place
        else:
            yield message, place


def _arguments(described: Sequence[Any]) -> Iterator[object]:
    """The arguments of all calls, as far as they are where they should be."""
    messages = (message for message in described if isinstance(message, dict))
    for message in messages:
        calls = message.get("tool_calls")
        found = (
            [call.get("function") for call in calls if isinstance(call, dict)]
            if isinstance(calls, list)
            else []
        )
        for function in (*found, message.get("function_call")):
            yield function.get("arguments") if isinstance(function, dict) else None


def _message(message: Mapping[str, Any], place: str) -> BaseMessage:
    within = f"{place}."
    content, name = (
        check_message_content(message.get("content"), f"{within}content", _PARTS),
        read_optional_field(message, "name", str, within),
    )
    match read_required_field(message, "role", str, within):
        case "user":
            return HumanMessage(content, name=name)
        case "system" | "developer":
            return SystemMessage(content, name=name)
        case "assistant":
            return _models_turn(message, content, name, within)
        case "tool":
            return ToolMessage(
                content, tool_call_id=read_required_field(message, "tool_call_id", str, within)
            )
        case "function":
            return FunctionMessage(content=content, name=read_required_field(message, "name", str, within))
        case _:
            raise InvalidRequestError(
                f"`{within}role` is `system`, `developer`, `user`, `assistant` or `tool`.", f"{within}role"
            )


def _models_turn(message: Mapping[str, Any], content: Any, name: str | None, within: str) -> AIMessage:
    if message.get("audio") is not None:
        raise InvalidRequestError(
            "Nothing is stored here that `audio` could refer to. Send what was said as `content`.",
            f"{within}audio",
            "unsupported_parameter",
        )
    extras = {
        field: value
        for field in ("refusal", "reasoning_content")
        if (value := read_optional_field(message, field, str, within)) is not None
    }
    good: list[Any] = []
    bad: list[Any] = []
    for call, place in iter_objects_with_paths(
        read_optional_field(message, "tool_calls", list, within) or [], f"{within}tool_calls"
    ):
        made = _call(call, f"{place}.")
        (bad if "error" in made else good).append(made)
    return AIMessage(content, name=name, tool_calls=good, invalid_tool_calls=bad, additional_kwargs=extras)


def _call(call: Mapping[str, Any], within: str) -> dict[str, Any]:
    """A call of a function or of a custom tool, in LangChain's form."""
    call_id = read_required_field(call, "id", str, within)
    if call.get("type") == "custom":
        custom, place = read_required_field(call, "custom", dict, within), f"{within}custom."
        arguments = wrap_custom_input(read_required_field(custom, "input", str, place))
        return to_langchain_tool_call(call_id, read_required_field(custom, "name", str, place), arguments)
    function, place = read_required_field(call, "function", dict, within), f"{within}function."
    arguments = read_optional_field(function, "arguments", str, place) or ""
    return to_langchain_tool_call(call_id, read_required_field(function, "name", str, place), arguments)
