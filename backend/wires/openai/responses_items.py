"""Parses the input items of a Responses request into messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from ..bodies import check_embedded_json_size
from ..faults import InvalidRequestError
from ..fields import iter_objects_with_paths, read_optional_field, read_required_field
from ..thoughts import decode_reasoning_items
from .content import check_message_content
from .custom_tools import wrap_custom_input
from .responses_tools import make_function_name
from .tools import to_langchain_tool_call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from ..thoughts import DecodedReasoning

_PARTS: Final = {
    "input_text": ("text", str),
    "output_text": ("text", str),
    "text": ("text", str),
    "summary_text": ("text", str),
    "refusal": ("refusal", str),
    "input_image": None,
    "input_file": None,
    "input_audio": None,
}
_REFUSED: Final = {
    "item_reference": "Nothing is stored here that an item could refer to. Send the items themselves.",
    "compaction": "Only OpenAI can read what this item holds of the conversation. Send the items themselves.",
}
"""Items that stand for others: without them, the model would be told half of the conversation."""
_OF_THE_MODEL: Final = frozenset({"reasoning", "function_call", "custom_tool_call"})


@dataclass(slots=True)
class _Turn:
    """One turn of the model: several items, and one message."""

    content: list[Any] = field(default_factory=list)
    good: list[Any] = field(default_factory=list)
    bad: list[Any] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    kept: DecodedReasoning | None = None

    def message(self) -> AIMessage:
        content: Any = self.content
        if len(content) == 1 and isinstance(content[0], str):
            (content,) = content
        made = AIMessage(content or "", tool_calls=self.good, invalid_tool_calls=self.bad)
        if self.kept is not None:
            return made.model_copy(update=self.kept.to_message_fields())
        if self.thoughts:
            made.additional_kwargs["reasoning_content"] = "\n\n".join(self.thoughts)
        return made


@dataclass(slots=True)
class ParsedInputItems:
    """The messages and tools in the ``input`` items of one Responses request, in order.

    Consecutive items of the model, such as reasoning, text and tool calls, become one `AIMessage`.

    Attributes:
        tools: Lists of tools that the input defines, each with its path in the request for error messages.
        ignored: The types of items that are left out, such as those of OpenAI's own tools.
    """

    messages: list[BaseMessage] = field(default_factory=list)
    tools: list[tuple[Sequence[Any], str]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    _turn: _Turn | None = None

    def parse_item(self, item: Mapping[str, Any], field_path: str) -> None:
        """Parse one input item, and add its message or tools. Items of the model are collected until their turn ends.

        Args:
            item: The item.
            field_path: The path of the item in the request, for error messages.

        Raises:
            InvalidRequestError: The item is invalid for its type.
        """
        within = f"{field_path}."
        kind = read_optional_field(item, "type", str, within) or (
            "message" if "role" in item or "id" not in item else "item_reference"
        )
        if kind in _OF_THE_MODEL or (kind == "message" and item.get("role") == "assistant"):
            self._turn = self._turn or _Turn()
            _add_to_turn(self._turn, kind, item, within)
            return
        if kind not in {"message", "function_call_output", "custom_tool_call_output", "additional_tools"}:
            self._leave_out(kind, within)
            return
        self.end_model_turn()
        if kind == "message":
            self.messages.append(_message(item, within))
        elif kind == "additional_tools":
            self.tools.append((read_required_field(item, "tools", list, within), f"{within}tools"))
        else:
            self.messages.append(_result(item, within))

    def end_model_turn(self) -> None:
        """Add an `AIMessage` made of the model's items since the last message. Call this after the last item."""
        if self._turn is not None:
            self.messages.append(self._turn.message())
            self._turn = None

    def _leave_out(self, kind: str, within: str) -> None:
        if kind in _REFUSED:
            raise InvalidRequestError(_REFUSED[kind], f"{within}type", "unsupported_parameter")
        self.ignored.append(kind)


def parse_input_items(input_value: Any) -> ParsedInputItems:
    """Parse the ``input`` of a Responses request.

    Raises:
        InvalidRequestError: The input is neither a text nor a list of items, or an item is invalid for its
            type.
    """
    items = ParsedInputItems()
    if isinstance(input_value, str):
        items.messages.append(HumanMessage(input_value))
        return items
    if not isinstance(input_value, list):
        raise InvalidRequestError("`input` has to be a text, or a list of items.", "input")
    check_embedded_json_size(
        (item.get("arguments") for item in input_value if isinstance(item, dict)), "input"
    )
    for item, place in iter_objects_with_paths(input_value, "input"):
        items.parse_item(item, place)
    items.end_model_turn()
    return items


def _message(item: Mapping[str, Any], within: str) -> BaseMessage:
    content = check_message_content(item.get("content"), f"{within}content", _PARTS)
    match read_required_field(item, "role", str, within):
        case "user":
            return HumanMessage(content)
        case "system" | "developer":
            return SystemMessage(content)
        case _:
            raise InvalidRequestError(
                f"`{within}role` is `user`, `system`, `developer` or `assistant`.", f"{within}role"
            )


def _add_to_turn(turn: _Turn, kind: str, item: Mapping[str, Any], within: str) -> None:
    if kind == "message":
        content = check_message_content(item.get("content"), f"{within}content", _PARTS)
        turn.content += content if isinstance(content, list) else [content]
    elif kind == "reasoning":
        turn.kept = decode_reasoning_items(item.get("encrypted_content")) or turn.kept
        parts = [
            *(read_optional_field(item, "summary", list, within) or []),
            *(read_optional_field(item, "content", list, within) or []),
        ]
        turn.thoughts += [
            text for part in parts if isinstance(part, dict) and isinstance(text := part.get("text"), str)
        ]
    else:
        call = _call(kind, item, within)
        (turn.bad if "error" in call else turn.good).append(call)


def _call(kind: str, item: Mapping[str, Any], within: str) -> dict[str, Any]:
    name = make_function_name(
        read_required_field(item, "name", str, within), read_optional_field(item, "namespace", str, within)
    )
    call_id = read_required_field(item, "call_id", str, within)
    if kind == "custom_tool_call":
        return to_langchain_tool_call(
            call_id, name, wrap_custom_input(read_required_field(item, "input", str, within))
        )
    return to_langchain_tool_call(call_id, name, read_optional_field(item, "arguments", str, within) or "")


def _result(item: Mapping[str, Any], within: str) -> ToolMessage:
    content = check_message_content(item.get("output"), f"{within}output", _PARTS)
    return ToolMessage(content, tool_call_id=read_required_field(item, "call_id", str, within))
