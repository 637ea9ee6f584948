"""Provider's reasoning items in a ``redacted_thinking`` block, which clients of the Messages API send back unchanged.

An answer without tool calls gets no such block: no provider needs it, and clients take the last block for the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..thoughts import DecodedReasoning, decode_reasoning_items, encode_reasoning_items

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import AIMessage

_TYPE = "redacted_thinking"
_OF_ANTHROPIC = {"response_metadata": {"model_provider": "anthropic"}}


def make_redacted_thinking_block(
    items: Sequence[Mapping[str, Any]], receipt: Mapping[str, Any]
) -> dict[str, Any]:
    """Pack a provider's reasoning items into one ``redacted_thinking`` block, which the client can send back.

    Args:
        items: The provider's reasoning items.
        receipt: The receipt of the call. It names the endpoint that sent the items.
    """
    return {"type": _TYPE, "data": encode_reasoning_items(items, receipt)}


def restore_reasoning_items(message: AIMessage) -> AIMessage:
    """Restore the reasoning items that the client has sent back in a block made by `make_redacted_thinking_block`.

    Args:
        message: An assistant message of the request.

    Returns:
        A copy with the items in the fields of their provider's serializer, instead of in the block. Without such
        a block, but with signed or encrypted thinking: a copy marked as Anthropic's. Otherwise ``message``.
    """
    if isinstance(message.content, str):
        return message
    blocks: list[Any] = message.content
    found = [_held(block) for block in blocks]
    thoughts = next(filter(None, reversed(found)), None)
    if thoughts is None:
        return message.model_copy(update=_OF_ANTHROPIC) if any(map(_is_sealed, blocks)) else message
    content = [block for block, held in zip(blocks, found, strict=True) if held is None]
    return message.model_copy(update={"content": content, **thoughts.to_message_fields()})


def _is_sealed(block: Mapping[str, Any]) -> bool:
    return block.get("type") == _TYPE or (block.get("type") == "thinking" and bool(block.get("signature")))


def _held(block: Mapping[str, Any]) -> DecodedReasoning | None:
    return decode_reasoning_items(block.get("data")) if block.get("type") == _TYPE else None
