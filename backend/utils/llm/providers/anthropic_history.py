"""Serializes a conversation for Anthropic's Messages API.

The rules: https://platform.claude.com/docs/en/api/messages/create, and the errors for breaking them,
https://platform.claude.com/docs/en/api/errors. No message and no text is empty; a model's thoughts come
first; tool results are at the beginning of the message after their calls; an id has letters, digits, `_`
and `-`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.messages import AIMessage, SystemMessage, ToolMessage

from .content_blocks import MEDIA, block_to_text
from .turns import (
    add_missing_user_turns,
    can_provider_read_thoughts,
    list_content_blocks,
    list_tool_names,
    list_user_content_blocks,
    make_unsupported_block_error,
    make_valid_call_id,
    make_valid_tool_name,
    move_media_to_user_messages,
    replace_non_json_values,
    restore_original_thoughts,
    split_system_messages,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from langchain_core.messages import BaseMessage

    from .ask import CallSettings
    from .content_blocks import Block

_API = "the Messages API"
_IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
_DOCUMENTS = frozenset({"application/pdf"})
_MAX_ID = 128
_LETTERS = "[A-Za-z0-9_-]"
_OWN_TOOLS = ("server_tool_use", "mcp_tool_use", "container_upload", "compaction")
"""Types of blocks of what Anthropic's own tools do; and those that end with ``_tool_result``."""
_OWN_FILE = "file_"
"""How the ids of files begin that Anthropic keeps. They want the header ``anthropic-beta: files-api-2025-04-14``."""
_NOTHING = "…"
"""What is said in the place of nothing."""


class AnthropicHistory(NamedTuple):
    """A conversation as Anthropic's Messages API expects it.

    Attributes:
        messages: The messages without system messages.
        system: The system prompt: a string, or a list of blocks if a part has ``cache_control``.
    """

    messages: list[dict[str, Any]]
    system: str | list[dict[str, Any]]


def to_anthropic_history(
    history: Sequence[BaseMessage], call_settings: CallSettings, provider: str
) -> AnthropicHistory:
    """Convert a normalized conversation into the messages and the system prompt of Anthropic's API.

    Args:
        history: The messages, as returned by `normalize_history`.
        call_settings: The settings of the call. The names of the tools that they declare are not corrected.
        provider: The provider that gets the messages. Only thoughts that this provider can read are sent.

    Raises:
        InexpressibleRequestError: The API has no form for a part of ``history``.
    """
    systems, turns = split_system_messages(history)
    writer = _Writer(list_tool_names(call_settings.tools), provider)
    messages: list[dict[str, Any]] = []
    for message in add_missing_user_turns(move_media_to_user_messages(turns, (AIMessage,))):
        _append(messages, writer.message(message))
    return AnthropicHistory(messages, _system_with_cache(history, len(systems)) or "\n\n".join(systems))


def _system_with_cache(history: Sequence[BaseMessage], count: int) -> list[dict[str, Any]]:
    """The first ``count`` system messages as blocks, if any of them is marked for the cache; else nothing."""
    systems = [message for message in history if isinstance(message, SystemMessage)][:count]
    parts = [part for message in systems for part in list_content_blocks(message)]
    is_marked = any("cache_control" in part for part in parts)
    return [_with_cache({"type": "text", "text": part["text"]}, part) for part in parts] if is_marked else []


def _append(messages: list[dict[str, Any]], message: dict[str, Any]) -> None:
    """Append ``message``, or merge it into the last one if both have the same role."""
    last = messages[-1] if messages else None
    if last is None or last["role"] != message["role"]:
        messages.append(message)
        return
    last["content"] = [*_in_blocks(last["content"]), *_in_blocks(message["content"])]


def _in_blocks(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


class _Writer:
    """Serializes one message after the other."""

    def __init__(self, declared: frozenset[str], provider: str) -> None:
        self._declared = declared
        self._provider = provider

    def message(self, message: BaseMessage) -> dict[str, Any]:
        """``message`` in the form of the API."""
        match message:
            case AIMessage():
                is_own = can_provider_read_thoughts(message, "anthropic", self._provider)
                content = [
                    *_assistant_content(restore_original_thoughts(message), is_own=is_own),
                    *map(self._call, message.tool_calls),
                ]
                return {"role": "assistant", "content": _shorthand(content)}
            case ToolMessage():
                return {"role": "user", "content": [_result(message)]}
            case _:
                return {
                    "role": "user",
                    "content": _shorthand([*_user_content(list_user_content_blocks(message))]),
                }

    def _call(self, call: Any) -> dict[str, Any]:
        name = make_valid_tool_name(call["name"], self._declared)
        return {
            "type": "tool_use",
            "id": _id(call["id"]),
            "name": name,
            "input": replace_non_json_values(call["args"]),
        }


def _shorthand(content: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """A single plain text as a string, the API's shorthand; a placeholder if there is no content."""
    if len(content) == 1 and content[0].keys() == {"type", "text"}:
        return str(content[0]["text"])
    return content or _NOTHING


def _id(call_id: str) -> str:
    return make_valid_call_id(call_id, max_length=_MAX_ID, alphabet=_LETTERS)


def _assistant_content(parts: Iterable[Block], *, is_own: bool) -> Iterator[dict[str, Any]]:
    """The content of a model's message. Thoughts come first, and are sent only to the provider that signed them."""
    parts = list(parts)
    if is_own:
        yield from filter(None, map(_thought, parts))
    for part in parts:
        if part["type"] != "reasoning":
            yield from _assistant_block(part, is_own=is_own)


def _assistant_block(part: Block, *, is_own: bool) -> Iterator[dict[str, Any]]:
    kind = str((part.get("value") or {}).get("type"))
    if is_own and (kind in _OWN_TOOLS or kind.endswith("_tool_result")):
        yield {name: value for name, value in part["value"].items() if name != "index"}
    elif text := block_to_text(part).strip():
        yield _with_cache(
            {"type": "text", "text": block_to_text(part) if part["type"] == "text" else text}, part
        )


def _thought(part: Block) -> dict[str, Any] | None:
    """A thinking block, unchanged; None without a signature, which the API requires."""
    extras = part.get("extras", {}) if part["type"] == "reasoning" else {}
    if "redacted" in extras:
        return {"type": "redacted_thinking", "data": extras["redacted"]}
    if "signature" in extras:
        return {"type": "thinking", "thinking": part["reasoning"], "signature": extras["signature"]}
    return None


def _result(message: ToolMessage) -> dict[str, Any]:
    parts = list_content_blocks(message)
    serialized: dict[str, Any] = {"type": "tool_result", "tool_use_id": _id(message.tool_call_id)}
    content = [
        {name: value for name, value in item.items() if name != "cache_control"}
        for item in _user_content(parts)
    ]
    if content:
        serialized["content"] = _shorthand(content)
    if message.status == "error":
        serialized["is_error"] = True
    mark = next((part for part in parts if "cache_control" in part), {})
    return _with_cache(serialized, mark)


def _user_content(parts: Iterable[Block]) -> Iterator[dict[str, Any]]:
    """Text and media of a user's message or a tool result."""
    for part in parts:
        if part["type"] == "text":
            if part["text"].strip():
                yield _with_cache({"type": "text", "text": part["text"]}, part)
        elif part["type"] in MEDIA:
            yield _with_cache(_media(part), part)
        else:
            raise make_unsupported_block_error(part, _API)


def _with_cache(serialized: dict[str, Any], part: Block) -> dict[str, Any]:
    """``serialized``, with the ``cache_control`` of ``part`` if it has one."""
    return {**serialized, "cache_control": part["cache_control"]} if "cache_control" in part else serialized


def _media(part: Block) -> dict[str, Any]:
    kind, known = ("image", _IMAGES) if part["type"] == "image" else ("document", _DOCUMENTS)
    mime = part.get("mime_type") or ("image/png" if kind == "image" else "application/pdf")
    if part["type"] not in {"image", "file"} or mime not in known:
        raise make_unsupported_block_error(part, _API)
    title = {"title": part["filename"]} if "filename" in part and kind == "document" else {}
    return {"type": kind, "source": _source(part, mime), **title}


def _source(part: Block, mime: str) -> dict[str, Any]:
    if "base64" in part:
        return {"type": "base64", "media_type": mime, "data": part["base64"]}
    if "file_id" in part:
        if not part["file_id"].startswith(_OWN_FILE):
            raise make_unsupported_block_error(part, _API)
        return {"type": "file", "file_id": part["file_id"]}
    return {"type": "url", "url": part["url"]}
