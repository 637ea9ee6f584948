"""The needs of a call, with an estimate of its tokens, for checks of context windows, limits and prices.

Nothing is tokenised: a prompt may be a megabyte, and each model has a tokenizer of its own.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic_core import to_json

from .providers import THOUGHTS_KEY
from .providers.content_blocks import Block, can_google_fetch_url, find_media_blocks
from .providers.history import normalize_history
from .routing.route import Needs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .providers import CallSettings

BYTES_PER_TOKEN = 4
"""A rough average for English prose. Other scripts have more bytes a character, and more tokens as well."""
_PLAIN = frozenset[type[BaseMessage]]({AIMessage, HumanMessage, SystemMessage})


def prepare_history_and_needs(
    messages: Sequence[BaseMessage], call_settings: CallSettings, *, streams: bool = False
) -> tuple[Sequence[BaseMessage], Needs]:
    """Return ``messages`` in the normal form of `normalize_history`, and the `Needs` of the call.

    Messages that are all plain text, as in most calls, are in normal form already, and returned unchanged.
    ``streams`` says whether the answer is streamed.
    """
    history, media = messages, list[Block]()
    for message in messages:
        kind, content = type(message), message.content
        is_text = type(content) is str and content and not content.isspace() and message.name is None
        if not is_text or kind not in _PLAIN or (kind is AIMessage and _has_more(message)):
            history = normalize_history(messages)
            media = find_media_blocks(history)
            break
    kinds = {_kind(part) for part in media} if media else ()
    needs = Needs(
        tools=bool(call_settings.tools),
        structured_output=call_settings.schema is not None,
        images="image" in kinds,
        remote_images=bool(media) and any(map(_is_remote, media)),
        audio="audio" in kinds,
        video="video" in kinds,
        pdf="pdf" in kinds,
        tokens=estimate_prompt_tokens(history, call_settings),
        streams=streams,
        options=call_settings.options,
        endpoint=call_settings.endpoint,
        fallbacks=call_settings.fallbacks,
    )
    return history, needs


def _has_more(message: Any) -> bool:
    """Whether a model's message has more than its text."""
    return bool(message.tool_calls or message.invalid_tool_calls or message.additional_kwargs)


def _kind(part: Block) -> str:
    """The kind of a media block. A file without a type is taken for a PDF, the type that all APIs accept."""
    is_pdf = part["type"] == "file" and part.get("mime_type", "application/pdf") == "application/pdf"
    return "pdf" if is_pdf else str(part["type"])


def _is_remote(part: Block) -> bool:
    """Whether ``part`` is an image given by URL."""
    return part["type"] == "image" and "url" in part and not can_google_fetch_url(part["url"])


def estimate_text_tokens(text: str) -> int:
    """Estimate the tokens in ``text``: its bytes in UTF-8 divided by 4, rounded down."""
    return _bytes(text) // BYTES_PER_TOKEN


def estimate_answer_tokens(message: AIMessage) -> int:
    """Estimate the tokens in the model's answer ``message``, including its thoughts."""
    thoughts = message.additional_kwargs.get(THOUGHTS_KEY) or ""
    return (_bytes(thoughts) + _bytes_of_message(message)) // BYTES_PER_TOKEN


def estimate_prompt_tokens(messages: Iterable[BaseMessage], call_settings: CallSettings) -> int:
    """Estimate the tokens of a request: texts, tool calls, tool definitions, and the schema of the answer."""
    size = sum(map(_bytes_of_message, messages))
    if call_settings.tools:
        size += sum(map(_bytes_of_json, call_settings.tools))
    if call_settings.schema is not None and call_settings.schema.json_schema:
        size += _bytes_of_json(call_settings.schema.json_schema)
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
    try:
        return len(to_json(value, fallback=str))  # a fifth of the time
    except ValueError:  # half a surrogate pair, or 256 objects within each other
        return len(json.dumps(value, default=str, ensure_ascii=False).encode(errors="replace"))
