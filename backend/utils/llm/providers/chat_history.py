"""Words a history for Chat Completions, and for the dialects of those who speak it.

The rules are those of OpenAI, https://platform.openai.com/docs/api-reference/chat/create, Mistral, DeepSeek, Perplexity, and of
OpenRouter for its thoughts, https://openrouter.ai/docs/guides/best-practices/reasoning-tokens#preserving-reasoning.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, ToolMessage

from .ask import REASONING_KEY
from .loose_json import as_object
from .turns import (
    alternating,
    blocks_of,
    data_url,
    declared_names,
    fitting_id,
    fitting_name,
    handed_on,
    joined,
    nine_letters,
    said_by_model,
    spoken,
    thought_by,
    thoughts_of,
    unworded,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.messages import BaseMessage

    from .ask import ModelRequest
    from .parts import Block

_API = "Chat Completions"
_LONGEST_ID = 40
_LONGEST_NAME = 64
_NO_NAME = re.compile(r"[\s<|\\/>]+")
PICTURES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
"""What OpenAI and Anthropic look at: https://platform.openai.com/docs/guides/images-vision#image-input-requirements"""
_SOUNDS = {"audio/wav": "wav", "audio/mpeg": "mp3"}
_ROLES = {"human": "user", "system": "system", "ai": "assistant"}
_IS_O_MODEL = re.compile(r"o\d")


def roles_for(model: str) -> dict[str, str]:
    """The roles of a system, a user and a model, by LangChain's names for them."""
    return {**_ROLES, "system": "developer"} if _IS_O_MODEL.match(model) else _ROLES


def chat_messages(request: ModelRequest, roles: dict[str, str]) -> list[dict[str, Any]]:
    """What is said in ``request`` as the ``messages`` of its body.

    Raises:
        NotWordedError: Part of it cannot be said here.
    """
    turns = handed_on(request.messages, (AIMessage, ToolMessage))
    writer = _Writer(request, roles)
    return [
        writer.message(one) for one in (alternating(turns) if request.endpoint.can.strict_turns else turns)
    ]


class _Writer:
    """Words one message after the other."""

    def __init__(self, request: ModelRequest, roles: dict[str, str]) -> None:
        self._roles = roles
        self._declared = declared_names(request.ask.tools)
        self._can = request.endpoint.can
        self._provider = request.endpoint.provider.name

    def message(self, message: BaseMessage) -> dict[str, Any]:
        """``message`` as the API takes it."""
        match message:
            case AIMessage():
                return self._of_model(message)
            case ToolMessage():
                number = self._id(message.tool_call_id)
                return {"role": "tool", "tool_call_id": number, "content": joined(blocks_of(message))}
            case _:
                return self._named(message, self._of_other(message))

    def _of_other(self, message: BaseMessage) -> dict[str, Any]:
        role = self._roles[message.type]
        if isinstance(message.content, str) and (message.name is None or not self._can.strict_turns):
            return {"role": role, "content": message.content}
        parts = spoken(message, None if self._can.strict_turns else "")
        if all(part["type"] == "text" for part in parts):
            return {"role": role, "content": joined(parts)}
        return {"role": role, "content": [_part(part) for part in parts]}

    def _named(self, message: BaseMessage, worded: dict[str, Any]) -> dict[str, Any]:
        """With the name of who speaks, which the stricter ones have no field for."""
        name = _NO_NAME.sub("_", message.name or "").strip("_")[:_LONGEST_NAME]
        return {**worded, "name": name} if name and not self._can.strict_turns else worded

    def _of_model(self, message: AIMessage) -> dict[str, Any]:
        parts = blocks_of(message)
        worded: dict[str, Any] = {"role": "assistant", "content": said_by_model(parts) or None}
        if message.tool_calls:
            worded["tool_calls"] = [self._call(call) for call in message.tool_calls]
            if self._can.wants_thoughts:
                thoughts = "\n\n".join(filter(None, (one["reasoning"] for one in thoughts_of(parts))))
                worded["reasoning_content"] = thoughts or _NO_THOUGHTS
        if own := self._own_thoughts(message):
            worded["reasoning_details"] = own
        return self._named(message, worded)

    def _own_thoughts(self, message: AIMessage) -> list[Any]:
        """What the provider wants back as it was."""
        items = message.additional_kwargs.get(REASONING_KEY)
        if not isinstance(items, list) or not thought_by(message, self._provider, self._provider):
            return []
        return [one for one in items if str(as_object(one).get("type")).startswith("reasoning.")]

    def _call(self, call: Any) -> dict[str, Any]:
        arguments = json.dumps(call["args"], ensure_ascii=False, default=str)
        function = {"name": fitting_name(call["name"], self._declared), "arguments": arguments}
        return {"type": "function", "id": self._id(call["id"]), "function": function}

    def _id(self, number: str) -> str:
        return nine_letters(number) if self._can.short_call_ids else fitting_id(number, most=_LONGEST_ID)


_NO_THOUGHTS = " "
"""What stands for the thoughts of a call that came without any, such as another model's. An empty text counts as missing:
https://github.com/mastra-ai/mastra/issues/12592, https://api-docs.deepseek.com/guides/thinking_mode#tool-calls"""


def _part(part: Block) -> dict[str, Any]:
    """What a user shows."""
    writer = _PARTS.get(part["type"])
    worded = writer(part) if writer is not None else None
    if worded is None:
        raise unworded(part, _API)
    return worded


def _text(part: Block) -> dict[str, Any]:
    return {"type": "text", "text": part["text"]}


def _picture(part: Block) -> dict[str, Any] | None:
    if "file_id" in part or part.get("mime_type", "image/png") not in PICTURES:
        return None
    url = part["url"] if "url" in part else data_url(part, "image/png")
    return {
        "type": "image_url",
        "image_url": {"url": url, **({"detail": part["detail"]} if "detail" in part else {})},
    }


def _sound(part: Block) -> dict[str, Any] | None:
    kind = _SOUNDS.get(part.get("mime_type", ""))
    if kind is None or "base64" not in part:
        return None
    return {"type": "input_audio", "input_audio": {"data": part["base64"], "format": kind}}


def _file(part: Block) -> dict[str, Any] | None:
    if "base64" in part:
        name = part.get("filename", "file.pdf")
        return {"type": "file", "file": {"filename": name, "file_data": data_url(part, "application/pdf")}}
    number = part.get("file_id", "")
    return None if "url" in part or "/" in number else {"type": "file", "file": {"file_id": number}}


_PARTS: dict[str, Callable[[Block], dict[str, Any] | None]] = {
    "text": _text,
    "image": _picture,
    "audio": _sound,
    "file": _file,
}
