"""What a call needs of an endpoint, and about how long its prompt is: windows, limits and prices go by it.

Nothing is tokenised: a prompt may be a megabyte, and each model has a tokenizer of its own.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage

from .providers import THOUGHTS_KEY
from .routing.route import Needs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_core.messages import BaseMessage

    from .providers import Ask

BYTES_PER_TOKEN = 4
"""A rough figure for English prose. Other scripts take two to four bytes for a character, and more tokens as well."""


_PICTURES = frozenset({"image", "image_url", "input_image", "media"})


def needs_of(messages: list[BaseMessage], ask: Ask, *, streams: bool = False) -> Needs:
    """What a call with ``messages`` and ``ask`` needs of an endpoint."""
    pictures = [
        block
        for message in messages
        if isinstance(message.content, list)
        for block in message.content
        if isinstance(block, dict) and block.get("type") in _PICTURES
    ]
    return Needs(
        tools=bool(ask.tools),
        structured_output=ask.schema is not None,
        images=bool(pictures),
        remote_images=any(map(_is_remote, pictures)),
        tokens=tokens_of_prompt(messages, ask),
        streams=streams,
        options=ask.options,
    )


def _is_remote(block: dict[str, Any]) -> bool:
    """Whether a picture is named by an address on the web."""
    named = (block.get("image_url"), block.get("url"))
    addresses = (one.get("url") if isinstance(one, dict) else one for one in named)
    return any(str(address).strip().lower().startswith(("http:", "https:")) for address in addresses)


def tokens_of_text(text: str) -> int:
    """About how many tokens a text has. No copy is made of one that is all ASCII."""
    return _bytes(text) // BYTES_PER_TOKEN


def tokens_of_answer(message: AIMessage) -> int:
    """Of all that a model said, to itself too."""
    thoughts = message.additional_kwargs.get(THOUGHTS_KEY) or ""
    return (_bytes(thoughts) + _bytes_of_message(message)) // BYTES_PER_TOKEN


def tokens_of_prompt(messages: Iterable[BaseMessage], ask: Ask) -> int:
    """Of all that is sent: texts, calls of tools, the tools themselves, and the schema of the answer."""
    size = sum(map(_bytes_of_message, messages))
    if ask.tools:
        size += sum(map(_bytes_of_json, ask.tools))
    if ask.schema is not None and ask.schema.json_schema:
        size += _bytes_of_json(ask.schema.json_schema)
    return size // BYTES_PER_TOKEN


def _bytes_of_message(message: BaseMessage) -> int:
    content = message.content
    size = _bytes(content) if isinstance(content, str) else sum(map(_bytes_of_block, content))
    if isinstance(message, AIMessage):
        size += sum(_bytes_of_json(call["args"]) for call in message.tool_calls)
    return size


def _bytes_of_block(block: str | dict[str, Any]) -> int:
    return _bytes(block if isinstance(block, str) else str(block.get("text") or ""))


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def _bytes_of_json(value: Any) -> int:
    return len(json.dumps(value, default=str, ensure_ascii=False).encode(errors="replace"))
