"""Provider's reasoning items in a ``redacted_thinking`` block, which clients of the Messages API send back unchanged.

An answer without tool calls gets no such block: no provider needs it, and clients take the last block for the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..thoughts import Thoughts, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import AIMessage

_TYPE = "redacted_thinking"
_OF_ANTHROPIC = {"response_metadata": {"model_provider": "anthropic"}}


def thoughts_block(items: Sequence[Mapping[str, Any]], receipt: Mapping[str, Any]) -> dict[str, Any]:
    """Pack a provider's reasoning ``items`` into one ``redacted_thinking`` block.

    ``receipt`` is the receipt of the call, which names the endpoint of the items.
    """
    return {"type": _TYPE, "data": packed(items, receipt)}


def remembered(message: AIMessage) -> AIMessage:
    """Unpack the reasoning items that a client has sent back in a `thoughts_block`.

    The block is removed from ``message``, and its items are put where the serializer of their provider looks for them. Without such
    a block, signed or encrypted thinking is marked as Anthropic's; any other message is returned unchanged.
    """
    if isinstance(message.content, str):
        return message
    blocks: list[Any] = message.content
    found = [_held(block) for block in blocks]
    thoughts = next(filter(None, reversed(found)), None)
    if thoughts is None:
        return message.model_copy(update=_OF_ANTHROPIC) if any(map(_is_sealed, blocks)) else message
    content = [block for block, held in zip(blocks, found, strict=True) if held is None]
    return message.model_copy(update={"content": content, **thoughts.in_message()})


def _is_sealed(block: Mapping[str, Any]) -> bool:
    return block.get("type") == _TYPE or (block.get("type") == "thinking" and bool(block.get("signature")))


def _held(block: Mapping[str, Any]) -> Thoughts | None:
    return unpacked(block.get("data")) if block.get("type") == _TYPE else None
