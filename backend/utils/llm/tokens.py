"""How long texts are in tokens, roughly: enough to keep calls away from windows, limits and prices that are too small.

Nothing is tokenised: a prompt may be a megabyte, and each model has a tokenizer of its own.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_core.messages import BaseMessage

    from .providers import Ask

BYTES_PER_TOKEN = 4
"""A rough figure for English prose. Other scripts take two to four bytes for a character, and more tokens as well."""


def of_text(text: str) -> int:
    """Of a text. No copy is made of one that is all ASCII."""
    return _bytes(text) // BYTES_PER_TOKEN


def of_prompt(messages: Iterable[BaseMessage], ask: Ask) -> int:
    """Of all that is sent: texts, calls of tools, the tools themselves, and the schema of the answer."""
    schema = ask.schema.json_schema if ask.schema is not None else None
    described = sum(map(_bytes_of_json, ask.tools)) + (_bytes_of_json(schema) if schema else 0)
    return (sum(map(_bytes_of_message, messages)) + described) // BYTES_PER_TOKEN


def _bytes_of_message(message: BaseMessage) -> int:
    content = message.content
    text = _bytes(content) if isinstance(content, str) else sum(map(_bytes_of_block, content))
    calls = message.tool_calls if isinstance(message, AIMessage) else ()
    return text + sum(_bytes_of_json(call["args"]) for call in calls)


def _bytes_of_block(block: str | dict[str, Any]) -> int:
    return _bytes(block if isinstance(block, str) else str(block.get("text") or ""))


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def _bytes_of_json(value: Any) -> int:
    return len(json.dumps(value, default=str, ensure_ascii=False).encode(errors="replace"))
