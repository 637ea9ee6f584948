"""Serializes a conversation for Chat Completions, and for other providers' dialects of it.

The rules are those of OpenAI, https://platform.openai.com/docs/api-reference/chat/create, Mistral,
DeepSeek and Perplexity; for thoughts also those of OpenRouter,
https://openrouter.ai/docs/guides/best-practices/reasoning-tokens#preserving-reasoning.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, ToolMessage

from .ask import REASONING_KEY
from .loose_json import object_or_empty
from .turns import (
    can_provider_read_thoughts,
    find_thought_blocks,
    join_text_blocks,
    join_text_without_thoughts,
    list_content_blocks,
    list_tool_names,
    list_user_content_blocks,
    make_data_url,
    make_mistral_call_id,
    make_valid_call_id,
    make_valid_tool_name,
    move_media_to_user_messages,
    serialize_block,
    to_alternating_turns,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.messages import BaseMessage

    from .ask import ModelRequest
    from .content_blocks import Block

_API = "Chat Completions"
_MAX_ID = 40
_MAX_NAME = 64
_INVALID_LETTERS = re.compile(r"[\s<|\\/>]+")
IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
"""Image types of OpenAI and Anthropic: https://platform.openai.com/docs/guides/images-vision#image-input-requirements"""
_AUDIO = {"audio/wav": "wav", "audio/mpeg": "mp3"}
_ROLES = {"human": "user", "system": "system", "ai": "assistant"}
_IS_O_MODEL = re.compile(r"o\d")


def role_names_for_model(model: str) -> dict[str, str]:
    """Map LangChain's message types (``system``, ``human``, ``ai``) to the role names that ``model`` expects.

    OpenAI's o-models have the role ``developer`` instead of ``system``.
    """
    return {**_ROLES, "system": "developer"} if _IS_O_MODEL.match(model) else _ROLES


def to_chat_messages(request: ModelRequest, roles: dict[str, str]) -> list[dict[str, Any]]:
    """Serialize the conversation of ``request`` as the ``messages`` of Chat Completions.

    Args:
        request: The request.
        roles: The API's role for each LangChain message type, from `role_names_for_model`.

    Raises:
        InexpressibleRequestError: The API has no form for a part of the conversation.
    """
    turns = move_media_to_user_messages(request.messages, (AIMessage, ToolMessage))
    writer = _Writer(request, roles)
    return [
        writer.message(message)
        for message in (to_alternating_turns(turns) if request.endpoint.can.strict_turns else turns)
    ]


class _Writer:
    """Serializes one message after the other."""

    def __init__(self, request: ModelRequest, roles: dict[str, str]) -> None:
        self._roles = roles
        self._declared = list_tool_names(request.ask.tools)
        self._can = request.endpoint.can
        self._provider = request.endpoint.provider.name

    def message(self, message: BaseMessage) -> dict[str, Any]:
        """``message`` in the form of the API."""
        match message:
            case AIMessage():
                return self._assistant_message(message)
            case ToolMessage():
                number = self._id(message.tool_call_id)
                return {
                    "role": "tool",
                    "tool_call_id": number,
                    "content": join_text_blocks(list_content_blocks(message)),
                }
            case _:
                return self._with_name(message, self._user_or_system_message(message))

    def _user_or_system_message(self, message: BaseMessage) -> dict[str, Any]:
        role = self._roles[message.type]
        if isinstance(message.content, str) and (message.name is None or not self._can.strict_turns):
            return {"role": role, "content": message.content}
        parts = list_user_content_blocks(message, None if self._can.strict_turns else "")
        if all(part["type"] == "text" for part in parts):
            return {"role": role, "content": join_text_blocks(parts)}
        return {"role": role, "content": [serialize_block(part, _PARTS, _API) for part in parts]}

    def _with_name(self, message: BaseMessage, serialized: dict[str, Any]) -> dict[str, Any]:
        """``serialized`` with the sender's ``name``, unless the provider's dialect has no such field."""
        name = _INVALID_LETTERS.sub("_", message.name or "").strip("_")[:_MAX_NAME]
        return {**serialized, "name": name} if name and not self._can.strict_turns else serialized

    def _assistant_message(self, message: AIMessage) -> dict[str, Any]:
        parts = list_content_blocks(message)
        serialized: dict[str, Any] = {
            "role": "assistant",
            "content": join_text_without_thoughts(parts) or None,
        }
        if message.tool_calls:
            serialized["tool_calls"] = [self._call(call) for call in message.tool_calls]
            if self._can.wants_thoughts:
                thoughts = "\n\n".join(
                    filter(None, (block["reasoning"] for block in find_thought_blocks(parts)))
                )
                serialized["reasoning_content"] = thoughts or _NO_THOUGHTS
        if own := self._own_thoughts(message):
            serialized["reasoning_details"] = own
        return self._with_name(message, serialized)

    def _own_thoughts(self, message: AIMessage) -> list[Any]:
        """The ``reasoning_details`` that this provider sent, to be returned unchanged."""
        items = message.additional_kwargs.get(REASONING_KEY)
        if not isinstance(items, list) or not can_provider_read_thoughts(
            message, self._provider, self._provider
        ):
            return []
        return [item for item in items if str(object_or_empty(item).get("type")).startswith("reasoning.")]

    def _call(self, call: Any) -> dict[str, Any]:
        arguments = json.dumps(call["args"], ensure_ascii=False, default=str)
        function = {"name": make_valid_tool_name(call["name"], self._declared), "arguments": arguments}
        return {"type": "function", "id": self._id(call["id"]), "function": function}

    def _id(self, call_id: str) -> str:
        return (
            make_mistral_call_id(call_id)
            if self._can.short_call_ids
            else make_valid_call_id(call_id, max_length=_MAX_ID)
        )


_NO_THOUGHTS = " "
"""What stands for the thoughts of a call that came without any, such as another model's. An empty text counts as missing:
https://github.com/mastra-ai/mastra/issues/12592, https://api-docs.deepseek.com/guides/thinking_mode#tool-calls"""


def _text(part: Block) -> dict[str, Any]:
    return {"type": "text", "text": part["text"]}


def _image(part: Block) -> dict[str, Any] | None:
    if "file_id" in part or part.get("mime_type", "image/png") not in IMAGES:
        return None
    url = part["url"] if "url" in part else make_data_url(part, "image/png")
    return {
        "type": "image_url",
        "image_url": {"url": url, **({"detail": part["detail"]} if "detail" in part else {})},
    }


def _audio(part: Block) -> dict[str, Any] | None:
    kind = _AUDIO.get(part.get("mime_type", ""))
    if kind is None or "base64" not in part:
        return None
    return {"type": "input_audio", "input_audio": {"data": part["base64"], "format": kind}}


def _file(part: Block) -> dict[str, Any] | None:
    if "base64" in part:
        name = part.get("filename", "file.pdf")
        return {
            "type": "file",
            "file": {"filename": name, "file_data": make_data_url(part, "application/pdf")},
        }
    number = part.get("file_id", "")
    return None if "url" in part or "/" in number else {"type": "file", "file": {"file_id": number}}


_PARTS: dict[str, Callable[[Block], dict[str, Any] | None]] = {
    "text": _text,
    "image": _image,
    "audio": _audio,
    "file": _file,
}
