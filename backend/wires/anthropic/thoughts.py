"""Thoughts that a client of the Messages API keeps for their provider: one block, which it sends back as it got it.

A thinking block of Anthropic's ends with a signature that Anthropic alone can read, OpenAI and Gemini have objects of their own,
and in a stream they are whole only when the answer is. So they are packed into a ``redacted_thinking`` block, which clients do not
look into, together with the endpoint that they are of: no other provider gets them. Of an answer without calls no provider wants
any, and clients take its last block for what was said.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, Final

from backend.utils.llm.providers.ask import REASONING_KEY
from backend.utils.llm.receipt import RECEIPT_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import AIMessage

_PREFIX: Final = "patchbay:"


def packed(items: Sequence[Mapping[str, Any]], receipt: Mapping[str, Any]) -> dict[str, Any]:
    """A block that holds ``items``, which the provider wants back that the ``receipt`` names."""
    held = json.dumps(
        {"endpoint": str(receipt.get("endpoint")), "items": items}, ensure_ascii=False, separators=(",", ":")
    )
    data = _PREFIX + base64.b64encode(held.encode(errors="surrogatepass")).decode()
    return {"type": "redacted_thinking", "data": data}


def remembered(message: AIMessage) -> AIMessage:
    """``message`` of a client's history, with what was `packed` in it where a provider's writer looks for it."""
    if isinstance(message.content, str):
        return message
    blocks: list[Any] = message.content
    found = [_unpacked(block) for block in blocks]
    if not any(found):
        return message
    thoughts = next(filter(None, reversed(found)))
    return message.model_copy(
        update={
            "content": [block for block, held in zip(blocks, found, strict=True) if held is None],
            "additional_kwargs": {REASONING_KEY: thoughts["items"]},
            "response_metadata": {RECEIPT_KEY: {"endpoint": thoughts["endpoint"]}},
        }
    )


def _unpacked(block: Mapping[str, Any]) -> dict[str, Any] | None:
    """What was packed in ``block``; None if it is none of ours, or was changed."""
    data = block.get("data")
    if block.get("type") != "redacted_thinking" or not isinstance(data, str) or not data.startswith(_PREFIX):
        return None
    try:
        held = json.loads(base64.b64decode(data.removeprefix(_PREFIX), validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
    match held:
        case {"endpoint": str(endpoint), "items": [*items]} if all(isinstance(item, dict) for item in items):
            return {"endpoint": endpoint, "items": items}
        case _:
            return None
