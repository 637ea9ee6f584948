"""Words a history for Anthropic's Messages API.

The rules: https://platform.claude.com/docs/en/api/messages/create, and what it says if one does not keep to them,
https://platform.claude.com/docs/en/api/errors. No message is empty, nor is a text; what a model thought comes first; results
stand at the beginning of the message that follows their calls; an id is of letters, digits, `_` and `-`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.messages import AIMessage, SystemMessage, ToolMessage

from .parts import MEDIA, told
from .turns import (
    apart,
    between_users,
    blocks_of,
    declared_names,
    fitting_id,
    fitting_name,
    plain_json,
    spoken,
    thought_by,
    unworded,
    with_own_thoughts,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from langchain_core.messages import BaseMessage

    from .ask import Ask
    from .parts import Block

_API = "the Messages API"
_PICTURES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
_DOCUMENTS = frozenset({"application/pdf"})
_LONGEST_ID = 128
_LETTERS = "[A-Za-z0-9_-]"
_OWN_TOOLS = ("server_tool_use", "mcp_tool_use", "container_upload", "compaction")
"""Types of blocks of what Anthropic's own tools do; and those that end with ``_tool_result``."""
_OWN_FILE = "file_"
"""How the ids of files begin that Anthropic keeps. They want the header ``anthropic-beta: files-api-2025-04-14``."""
_NOTHING = "…"
"""What is said in the place of nothing."""


class AnthropicHistory(NamedTuple):
    """A history in Anthropic's words.

    Attributes:
        system: What the system says: a text, or blocks if some are marked for the cache.
    """

    messages: list[dict[str, Any]]
    system: str | list[dict[str, Any]]


def anthropic_history(history: Sequence[BaseMessage], ask: Ask, provider: str) -> AnthropicHistory:
    """``history``, in normal form, as messages.

    Args:
        history: What is said.
        ask: Says which tools there are, whose names are left as they are.
        provider: Whose thoughts go back to it.

    Raises:
        NotWordedError: Part of it cannot be said here.
    """
    systems, turns = apart(history)
    writer = _Writer(declared_names(ask.tools), provider)
    messages: list[dict[str, Any]] = []
    for message in between_users(turns):
        _add(messages, writer.message(message))
    return AnthropicHistory(messages, _marked_system(history, len(systems)) or "\n\n".join(systems))


def _marked_system(history: Sequence[BaseMessage], count: int) -> list[dict[str, Any]]:
    """What the system says in ``count`` messages, in blocks, if any of them is marked; else nothing."""
    told = [blocks_of(message) for message in history if isinstance(message, SystemMessage)][:count]
    parts = [part for one in told for part in one]
    is_marked = any("cache_control" in part for part in parts)
    return [_marked({"type": "text", "text": part["text"]}, part) for part in parts] if is_marked else []


def _add(messages: list[dict[str, Any]], message: dict[str, Any]) -> None:
    """Put ``message`` behind the others; into the last one, if that is the same one's."""
    last = messages[-1] if messages else None
    if last is None or last["role"] != message["role"]:
        messages.append(message)
        return
    last["content"] = [*_in_blocks(last["content"]), *_in_blocks(message["content"])]


def _in_blocks(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


class _Writer:
    """Words one message after the other."""

    def __init__(self, declared: frozenset[str], provider: str) -> None:
        self._declared = declared
        self._provider = provider

    def message(self, message: BaseMessage) -> dict[str, Any]:
        """``message`` as the API takes it."""
        match message:
            case AIMessage():
                is_own = thought_by(message, "anthropic", self._provider)
                said = [
                    *_said(with_own_thoughts(message), is_own=is_own),
                    *map(self._call, message.tool_calls),
                ]
                return {"role": "assistant", "content": _short(said)}
            case ToolMessage():
                return {"role": "user", "content": [_result(message)]}
            case _:
                return {"role": "user", "content": _short([*_shown(spoken(message))])}

    def _call(self, call: Any) -> dict[str, Any]:
        name = fitting_name(call["name"], self._declared)
        return {"type": "tool_use", "id": _id(call["id"]), "name": name, "input": plain_json(call["args"])}


def _short(said: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """What is said as the API's shorthand, if it is one plain text; something, if it is nothing."""
    if len(said) == 1 and said[0].keys() == {"type", "text"}:
        return str(said[0]["text"])
    return said or _NOTHING


def _id(number: str) -> str:
    return fitting_id(number, most=_LONGEST_ID, alphabet=_LETTERS)


def _said(parts: Iterable[Block], *, is_own: bool) -> Iterator[dict[str, Any]]:
    """What a model said, and before it what it thought, if that was this one."""
    parts = list(parts)
    if is_own:
        yield from filter(None, map(_thought, parts))
    for part in parts:
        if part["type"] != "reasoning":
            yield from _one_said(part, is_own=is_own)


def _one_said(part: Block, *, is_own: bool) -> Iterator[dict[str, Any]]:
    kind = str((part.get("value") or {}).get("type"))
    if is_own and (kind in _OWN_TOOLS or kind.endswith("_tool_result")):
        yield {name: value for name, value in part["value"].items() if name != "index"}
    elif text := told(part).strip():
        yield _marked({"type": "text", "text": told(part) if part["type"] == "text" else text}, part)


def _thought(part: Block) -> dict[str, Any] | None:
    """A thought as it was; None for one that is not signed, which the API does not take."""
    extras = part.get("extras", {}) if part["type"] == "reasoning" else {}
    if "redacted" in extras:
        return {"type": "redacted_thinking", "data": extras["redacted"]}
    if "signature" in extras:
        return {"type": "thinking", "thinking": part["reasoning"], "signature": extras["signature"]}
    return None


def _result(message: ToolMessage) -> dict[str, Any]:
    parts = blocks_of(message)
    worded: dict[str, Any] = {"type": "tool_result", "tool_use_id": _id(message.tool_call_id)}
    content = [
        {name: value for name, value in one.items() if name != "cache_control"} for one in _shown(parts)
    ]
    if content:
        worded["content"] = _short(content)
    if message.status == "error":
        worded["is_error"] = True
    mark = next((part for part in parts if "cache_control" in part), {})
    return _marked(worded, mark)


def _shown(parts: Iterable[Block]) -> Iterator[dict[str, Any]]:
    """What a user, or a tool, shows."""
    for part in parts:
        if part["type"] == "text":
            if part["text"].strip():
                yield _marked({"type": "text", "text": part["text"]}, part)
        elif part["type"] in MEDIA:
            yield _marked(_medium(part), part)
        else:
            raise unworded(part, _API)


def _marked(worded: dict[str, Any], part: Block) -> dict[str, Any]:
    """``worded``, with the hint for the cache that ``part`` has."""
    return {**worded, "cache_control": part["cache_control"]} if "cache_control" in part else worded


def _medium(part: Block) -> dict[str, Any]:
    kind, known = ("image", _PICTURES) if part["type"] == "image" else ("document", _DOCUMENTS)
    mime = part.get("mime_type") or ("image/png" if kind == "image" else "application/pdf")
    if part["type"] not in {"image", "file"} or mime not in known:
        raise unworded(part, _API)
    title = {"title": part["filename"]} if "filename" in part and kind == "document" else {}
    return {"type": kind, "source": _source(part, mime), **title}


def _source(part: Block, mime: str) -> dict[str, Any]:
    if "base64" in part:
        return {"type": "base64", "media_type": mime, "data": part["base64"]}
    if "file_id" in part:
        if not part["file_id"].startswith(_OWN_FILE):
            raise unworded(part, _API)
        return {"type": "file", "file_id": part["file_id"]}
    return {"type": "url", "url": part["url"]}
