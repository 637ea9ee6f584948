"""Serializes a conversation for OpenAI's Responses API.

The rules: https://platform.openai.com/docs/api-reference/responses/create.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, SystemMessage, ToolMessage

from .chat_history import IMAGES
from .content_blocks import block_to_text
from .turns import (
    can_provider_read_thoughts,
    list_content_blocks,
    list_tool_names,
    list_user_content_blocks,
    make_data_url,
    make_valid_call_id,
    make_valid_tool_name,
    move_media_to_user_messages,
    restore_original_thoughts,
    serialize_block,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_core.messages import BaseMessage

    from .ask import ModelRequest
    from .content_blocks import Block

_API = "Responses"
_MAX_ID = 64
_ITEMS = frozenset(
    {
        *(
            "apply_patch_call",
            "apply_patch_call_output",
            "code_interpreter_call",
            "compaction",
            "computer_call",
        ),
        *(
            "custom_tool_call",
            "file_search_call",
            "image_generation_call",
            "mcp_approval_request",
            "mcp_call",
        ),
        *("mcp_list_tools", "tool_search_call", "tool_search_output", "web_search_call"),
    }
)
"""Types of items that tell what OpenAI's built-in tools did."""
_PLACES = ("index", "sub_index")
"""What LangChain adds to an item of a stream."""


def to_responses_input(request: ModelRequest) -> list[dict[str, Any]]:
    """Serialize the conversation of ``request`` as the ``input`` of the Responses API.

    Raises:
        InexpressibleRequestError: The API has no form for a part of the conversation.
    """
    declared, provider = list_tool_names(request.ask.tools), request.endpoint.provider.name
    turns = move_media_to_user_messages(request.messages, (AIMessage,))
    return [item for turn in turns for item in _items(turn, declared, provider)]


def _items(message: BaseMessage, declared: frozenset[str], provider: str) -> Iterator[dict[str, Any]]:
    match message:
        case AIMessage():
            yield from _assistant_items(message, declared, provider)
        case ToolMessage():
            output = _content(list_content_blocks(message))
            yield {"type": "function_call_output", "call_id": _id(message.tool_call_id), "output": output}
        case SystemMessage():
            yield {"type": "message", "role": "system", "content": message.text}
        case _:
            yield {"type": "message", "role": "user", "content": _content(list_user_content_blocks(message))}


def _content(parts: list[Block]) -> str | list[dict[str, Any]]:
    """Content of a user's message or a tool result: a string if it is one text."""
    if not parts:
        return ""
    return (
        parts[0]["text"]
        if [part["type"] for part in parts] == ["text"]
        else [serialize_block(part, _PARTS, _API) for part in parts]
    )


def _id(call_id: str) -> str:
    return make_valid_call_id(call_id, max_length=_MAX_ID)


# What a model said ---------------------------------------------------------------------------------------------------


def _assistant_items(message: AIMessage, declared: frozenset[str], provider: str) -> Iterator[dict[str, Any]]:
    is_own = can_provider_read_thoughts(message, "openai", provider)
    content_items = [
        item
        for part in restore_original_thoughts(message)
        if (item := _item(part, is_own=is_own)) is not None
    ]
    calls = [_call(call, declared) for call in message.tool_calls]
    items = _with_texts_joined([*content_items, *calls])
    while items and items[-1]["type"] == "reasoning":  # a thought has to lead to something
        items.pop()
    yield from items


def _item(part: Block, *, is_own: bool) -> dict[str, Any] | None:
    if part["type"] == "reasoning":
        return _thought(part) if is_own else None
    value = part.get("value")
    if is_own and isinstance(value, dict) and str(value.get("type")) in _ITEMS:
        return {key: item for key, item in value.items() if key not in _PLACES}
    return _message(block_to_text(part))


def _thought(part: Block) -> dict[str, Any] | None:
    """A reasoning item; None without ``encrypted_content``, for the API stores none itself."""
    secret = part.get("extras", {}).get("encrypted_content")
    if not secret:
        return None
    summary = [{"type": "summary_text", "text": part["reasoning"]}] if part["reasoning"] else []
    number = {"id": part["id"]} if part.get("id", "").startswith("rs_") else {}
    return {"type": "reasoning", **number, "summary": summary, "encrypted_content": secret}


def _message(text: str) -> dict[str, Any]:
    return {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }


def _with_texts_joined(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """``items`` with consecutive texts merged into one message."""
    found: list[dict[str, Any]] = []
    for item in items:
        if found and item["type"] == found[-1]["type"] == "message":
            found[-1]["content"] += item["content"]
        else:
            found.append(item)
    return found


def _call(call: Any, declared: frozenset[str]) -> dict[str, Any]:
    arguments = json.dumps(call["args"], ensure_ascii=False, default=str)
    name = make_valid_tool_name(call["name"], declared)
    return {"type": "function_call", "call_id": _id(call["id"]), "name": name, "arguments": arguments}


# What is shown -------------------------------------------------------------------------------------------------------


def _text(part: Block) -> dict[str, Any]:
    return {"type": "input_text", "text": part["text"]}


def _image(part: Block) -> dict[str, Any] | None:
    if part.get("mime_type", "image/png") not in IMAGES:
        return None
    found = {"type": "input_image", **({"detail": part["detail"]} if "detail" in part else {})}
    if "file_id" in part:
        return None if "/" in part["file_id"] else {**found, "file_id": part["file_id"]}
    return {**found, "image_url": part["url"] if "url" in part else make_data_url(part, "image/png")}


def _file(part: Block) -> dict[str, Any] | None:
    if "base64" in part:
        name = part.get("filename", "file.pdf")
        return {"type": "input_file", "filename": name, "file_data": make_data_url(part, "application/pdf")}
    if "url" in part:
        return {"type": "input_file", "file_url": part["url"]}
    return None if "/" in part["file_id"] else {"type": "input_file", "file_id": part["file_id"]}


_PARTS: dict[str, Callable[[Block], dict[str, Any] | None]] = {"text": _text, "image": _image, "file": _file}
