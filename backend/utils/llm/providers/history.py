"""Normalizes a conversation: converts all notations into one, and repairs errors.

Every API's serializer begins with `normalize_history`, which is independent of APIs; differences between
APIs, such as the allowed characters of an id, are left to the serializer. In a normalized conversation

- every message is a `SystemMessage`, `HumanMessage`, `AIMessage` or `ToolMessage`, and none of them is
  empty;
- its content is a string, or a list of the blocks of `content_blocks.to_standard_blocks`, without tool
  calls and results;
- tool calls are only in ``tool_calls``, each with a name, an object of arguments and a unique id;
- a message with tool calls is followed by one `ToolMessage` for each, in the same order; there are no
  others;
- thoughts are blocks of type ``reasoning``; ``response_metadata``, left unchanged, tells their provider.
  Objects that the provider wants back unchanged stay in ``additional_kwargs``, under `SIGNATURES_KEY`
  and `REASONING_KEY`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from .ask import REASONING_KEY, THOUGHTS_KEY
from .content_blocks import MEDIA, Block, block_to_text, to_standard_blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

NO_RESULT = "There is no result of this call."
"""The result given to a tool call that has none: no API takes a call without a result."""
INVALID = "INVALID_JSON"
"""The key under which arguments of a call that are no object are put, as Anthropic advises:
https://docs.claude.com/en/docs/agents-and-tools/tool-use/fine-grained-tool-streaming"""
SIGNATURES_KEY = "__gemini_function_call_thought_signatures__"
"""The key in a message's ``additional_kwargs`` of Gemini's thought signatures, by the id of the call."""
_ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("assistant", "ai", "model"), "ai"),
    **dict.fromkeys(("user", "human"), "human"),
    **dict.fromkeys(("tool", "function"), "tool"),
}
_NOTHING = "…"
"""What is said in the place of a history in which nothing is."""


def normalize_history(messages: Iterable[BaseMessage]) -> list[BaseMessage]:
    """Convert a conversation into the form that this module describes, and repair errors in it.

    Returns:
        A new list of at least one message. The given messages are not changed; those that need no repair
        are in the list themselves.
    """
    recast = [item for message in messages for item in _recast(message)]
    found = [message for message in _paired(recast) if _says_something(message)]
    return found or [HumanMessage(_NOTHING)]


def _says_something(message: BaseMessage) -> bool:
    """Whether ``message`` contains anything but thoughts."""
    content: Any = message.content
    if isinstance(message, ToolMessage) or (isinstance(message, AIMessage) and message.tool_calls):
        return True
    return bool(content) if isinstance(content, str) else any(item["type"] != "reasoning" for item in content)


# One message ---------------------------------------------------------------------------------------------------------


_AS_THEY_ARE = frozenset[type[BaseMessage]]({HumanMessage, SystemMessage, ToolMessage})


def _recast(message: BaseMessage) -> list[BaseMessage]:
    """``message`` as one or more messages of the four kinds."""
    if isinstance(message, ChatMessage):
        return _of_role(message)
    if isinstance(message, AIMessage):
        return [_model_turn(message)]
    return [] if isinstance(message, RemoveMessage) else _others_turn(message)


def _others_turn(message: BaseMessage) -> list[BaseMessage]:
    """A message that is not a model's. Most are texts, and in normal form already."""
    content = message.content
    if type(message) in _AS_THEY_ARE and isinstance(content, str) and content and not content.isspace():
        return [message]
    parts, name = to_standard_blocks(message.content), message.name
    match message:
        case ToolMessage():
            return [_result(message.tool_call_id, name, parts, message.status)]
        case FunctionMessage():
            return [_result("", name, parts, "success")]
        case SystemMessage():
            return _instruction(parts, name)
        case _:
            return _user_turn(parts, name)


def _of_role(message: ChatMessage) -> list[BaseMessage]:
    """A message whose role is a text. One with an unknown role becomes a user's, with the role as name."""
    parts = to_standard_blocks(message.content)
    match _ROLES.get(message.role.strip().lower()):
        case "system":
            return _instruction(parts, message.name)
        case "ai":
            return [
                _model_turn(
                    AIMessage(message.content, name=message.name, additional_kwargs=message.additional_kwargs)
                )
            ]
        case "tool":
            return [
                _result(
                    str(message.additional_kwargs.get("tool_call_id") or ""), message.name, parts, "success"
                )
            ]
        case "human":
            return _user_turn(parts, message.name)
        case _:
            return _user_turn(parts, message.name or message.role)


def _instruction(parts: list[Block], name: str | None) -> list[BaseMessage]:
    """A system message. No API accepts more than text there; any other content becomes a user's message."""
    texts = [part for part in parts if part["type"] == "text"]
    others = [part for part in parts if part["type"] != "text"]
    is_marked = any("cache_control" in part for part in texts)
    content: Any = texts if is_marked else "\n\n".join(part["text"] for part in texts)
    messages: list[BaseMessage] = [SystemMessage(content, name=name)] if texts else []
    return [*messages, *_user_turn(others, None)] if others else messages


def _user_turn(parts: list[Block], name: str | None) -> list[BaseMessage]:
    """A user's message; before it the tool results that it contains in Anthropic's notation."""
    results = [part for part in parts if part["type"] == "tool_result"]
    others = [part for part in parts if part["type"] != "tool_result"]
    found: list[BaseMessage] = [
        _result(str(result["tool_call_id"]), result["name"], _parts_of_result(result), result["status"])
        for result in results
    ]
    if others or not found:
        found.append(HumanMessage(_content(others), name=name))
    return found


def _parts_of_result(result: Block) -> list[Block]:
    """The content of ``result``. If the result is marked for the cache, its last part gets the mark."""
    parts = to_standard_blocks(result["content"])
    if parts and "cache_control" in result:
        parts[-1]["cache_control"] = result["cache_control"]
    return parts


def _result(number: str, name: str | None, parts: list[Block], status: Any) -> ToolMessage:
    """A tool's result. Content other than media becomes text."""
    kept = [part if part["type"] in MEDIA else _as_text(part) for part in parts]
    return ToolMessage(_content(kept), tool_call_id=number, name=name, status=status)


def _as_text(part: Block) -> Block:
    block = {"type": "text", "text": block_to_text(part)}
    return {**block, "cache_control": part["cache_control"]} if "cache_control" in part else block


def _content(parts: list[Block]) -> Any:
    """``parts`` as a message's content: a string, if they are only text."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return parts[0]["text"]
    return parts


# What a model said ---------------------------------------------------------------------------------------------------


def _model_turn(message: AIMessage) -> AIMessage:
    parts = to_standard_blocks(message.content)
    extras = message.additional_kwargs
    content = [part for part in parts if part["type"] not in {"tool_call", "tool_result"}]
    if not any(part["type"] == "reasoning" for part in content):
        content = [*_thoughts_elsewhere(extras), *content]
    if all(part["type"] == "reasoning" for part in content):
        content += to_standard_blocks(_text_elsewhere(extras))
    calls = [*map(_call, message.tool_calls), *map(_call, message.invalid_tool_calls)]
    if not calls:
        calls = [*map(_call, (part for part in parts if part["type"] == "tool_call")), *_old_calls(extras)]
    return AIMessage(
        _content(content),
        tool_calls=calls,
        name=message.name,
        additional_kwargs={key: extras[key] for key in (SIGNATURES_KEY, REASONING_KEY) if key in extras},
        response_metadata=message.response_metadata,
    )


def _thoughts_elsewhere(extras: dict[str, Any]) -> list[Block]:
    """Thoughts outside the content: a text, or an item of Responses."""
    thoughts, item = extras.get(THOUGHTS_KEY), extras.get("reasoning")
    if isinstance(thoughts, str) and thoughts:
        return [{"type": "reasoning", "reasoning": thoughts}]
    return to_standard_blocks([{**item, "type": "reasoning"}]) if isinstance(item, dict) else []


def _text_elsewhere(extras: dict[str, Any]) -> str:
    """Text outside the content: a refusal, or the transcript of spoken audio."""
    audio = extras.get("audio")
    spoken = audio.get("transcript") if isinstance(audio, dict) else None
    return str(extras.get("refusal") or spoken or "")


def _old_calls(extras: dict[str, Any]) -> list[Any]:
    """The call of a message in the notation of 2023."""
    call = extras.get("function_call")
    return [_call({"args": call.get("arguments"), **call})] if isinstance(call, dict) else []


def _call(call: Any) -> dict[str, Any]:
    return {
        "type": "tool_call",
        "name": str(call.get("name") or "tool"),
        "args": _arguments(call.get("args")),
        "id": str(call.get("id") or ""),
    }


def _arguments(value: object) -> dict[str, Any]:
    """A call's arguments. If they are no object, the model is shown what it wrote."""
    if isinstance(value, dict):
        return value
    if not value:
        return {}
    try:
        read = json.loads(value, strict=False) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        read = value
    return read if isinstance(read, dict) else {INVALID: value if isinstance(value, str) else read}


# Calls and their results ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Call:
    """A call of the history, with its original id, and its result once found."""

    call: dict[str, Any]
    asked_as: str
    turn: int
    result: ToolMessage | None = None


@dataclass(slots=True)
class _Calls:
    """All calls of a history, in their order."""

    all: list[_Call] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    by_id: dict[str, list[_Call]] = field(default_factory=dict)

    def add(self, turn: int, message: AIMessage) -> list[_Call]:
        """Add the calls of ``message``, each with a unique id."""
        return [self._noted(turn, dict(call)) for call in message.tool_calls]

    def _noted(self, turn: int, call: dict[str, Any]) -> _Call:
        asked_as = call["id"]
        others = (f"{asked_as or 'call'}_{number}" for number in count(len(self.ids)))
        call["id"] = next(item for item in chain([asked_as], others) if item and item not in self.ids)
        self.ids.add(call["id"])
        found = _Call(call, asked_as, turn)
        self.all.append(found)
        self.by_id.setdefault(asked_as, []).append(found)
        return found

    def answer(self, result: ToolMessage) -> bool:
        """Assign ``result`` to the call that waits for it; False if none does."""
        waiting = self._waiting_for(result)
        last = waiting[-1].turn if waiting else None
        for call in waiting:
            if call.turn == last:
                call.result = result
                return True
        return False

    def _waiting_for(self, result: ToolMessage) -> list[_Call]:
        """Open calls with the result's id; or with its name, if either has no id."""
        number, name = result.tool_call_id, result.name
        same = [call for call in self.by_id.get(number, ()) if call.result is None] if number else []
        if same:
            return same
        others = self.by_id.get("", ()) if number else self.all
        return [other for other in others if other.result is None and name in {None, other.call["name"]}]


def _paired(messages: Sequence[BaseMessage]) -> Iterator[BaseMessage]:
    """``messages`` with each result directly after its call; a result without a call becomes a user's message."""
    calls, order = _Calls(), list[tuple[BaseMessage, list[_Call]]]()
    for turn, message in enumerate(messages):
        if isinstance(message, AIMessage):
            order.append((message, calls.add(turn, message)))
        elif not isinstance(message, ToolMessage):
            order.append((message, []))
        elif not calls.answer(message):
            order.append((_as_user_message(message), []))
    for message, own in order:
        yield _with_ids(message, own) if own else message
        for call in own:
            yield _answered(call)


def _with_ids(message: BaseMessage, own: list[_Call]) -> BaseMessage:
    if all(call.call["id"] == call.asked_as for call in own):
        return message
    signatures = message.additional_kwargs.get(SIGNATURES_KEY)
    extras = message.additional_kwargs
    if isinstance(signatures, dict):
        renamed = {call.call["id"]: signatures[call.asked_as] for call in own if call.asked_as in signatures}
        extras = {**extras, SIGNATURES_KEY: renamed}
    return message.model_copy(update={"tool_calls": [call.call for call in own], "additional_kwargs": extras})


def _answered(one: _Call) -> ToolMessage:
    name, number, result = one.call["name"], one.call["id"], one.result
    if result is None:
        return ToolMessage(NO_RESULT, tool_call_id=number, name=name, status="error")
    if (result.tool_call_id, result.name) == (number, name):
        return result
    return ToolMessage(result.content, tool_call_id=number, name=name, status=result.status)


def _as_user_message(result: ToolMessage) -> HumanMessage:
    """A result without a call, as a user's message."""
    head = f"Result of the tool {result.name}:" if result.name else "Result of a tool:"
    content = result.content
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return HumanMessage([{"type": "text", "text": head}, *blocks] if content else f"{head} none")
