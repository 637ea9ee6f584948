"""Provider's reasoning items in a ``redacted_thinking`` block, which clients of the Messages API send back unchanged.

Of an answer without calls no provider wants any, and clients take its last block for what was said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..thoughts import Thoughts, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import AIMessage

_TYPE = "redacted_thinking"


def thoughts_block(items: Sequence[Mapping[str, Any]], receipt: Mapping[str, Any]) -> dict[str, Any]:
    """A block that holds ``items`` for the provider that the ``receipt`` names."""
    return {"type": _TYPE, "data": packed(items, receipt)}


def remembered(message: AIMessage) -> AIMessage:
    """``message`` of a client's history, with the content of its `thoughts_block` where the provider's writer looks for it."""
    if isinstance(message.content, str):
        return message
    blocks: list[Any] = message.content
    found = [_held(block) for block in blocks]
    thoughts = next(filter(None, reversed(found)), None)
    if thoughts is None:
        return message
    content = [block for block, held in zip(blocks, found, strict=True) if held is None]
    return message.model_copy(update={"content": content, **thoughts.in_message()})


def _held(block: Mapping[str, Any]) -> Thoughts | None:
    return unpacked(block.get("data")) if block.get("type") == _TYPE else None
