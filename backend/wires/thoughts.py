"""Encodes a provider's reasoning items as an opaque text, which the client keeps and sends back unchanged.

Anthropic signs its thinking blocks, OpenAI and Gemini have reasoning objects of their own, and in a
stream the items are complete only at the end. So all items of an answer are encoded together with the
name of their endpoint, and no other provider gets them.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from backend.utils.llm.providers.ask import REASONING_KEY
from backend.utils.llm.receipt import RECEIPT_KEY

from .bodies import count_json_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PREFIX: Final = "patchbay:"
_MOST_VALUES: Final = 200
"""Of one answer's thoughts. Nobody has as many, and a client may send thousands of texts."""


class DecodedReasoning(NamedTuple):
    """A provider's reasoning items that the client has sent back. Only the same provider may get them again.

    Attributes:
        endpoint: The endpoint whose answer had the items, as ``provider:model``.
    """

    endpoint: str
    items: Sequence[Mapping[str, Any]]

    def to_message_fields(self) -> dict[str, Any]:
        """Build the fields of an `AIMessage` in which the provider's serializer looks for reasoning items."""
        return {
            "additional_kwargs": {REASONING_KEY: list(self.items)},
            "response_metadata": {RECEIPT_KEY: {"endpoint": self.endpoint}},
        }


def encode_reasoning_items(items: Sequence[Mapping[str, Any]], receipt: Mapping[str, Any]) -> str:
    """Encode a provider's reasoning items as one opaque text, which a client can store and send back.

    The reverse of `decode_reasoning_items`.

    Args:
        items: The provider's reasoning items.
        receipt: The receipt of the call. It names the endpoint that sent the items.
    """
    held = json.dumps(
        {"endpoint": str(receipt.get("endpoint")), "items": items}, ensure_ascii=False, separators=(",", ":")
    )
    return _PREFIX + base64.b64encode(held.encode(errors="surrogatepass")).decode()


def decode_reasoning_items(text: object) -> DecodedReasoning | None:
    """Decode a text made by `encode_reasoning_items`.

    None for any other value, and if the text is damaged or has too many values.
    """
    if not isinstance(text, str) or not text.startswith(_PREFIX):
        return None
    try:
        plain = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        held = None if count_json_values(plain, _MOST_VALUES) > _MOST_VALUES else json.loads(plain)
    except (binascii.Error, ValueError, RecursionError):
        return None
    match held:
        case {"endpoint": str(endpoint), "items": [*items]} if all(isinstance(item, dict) for item in items):
            return DecodedReasoning(endpoint, items)
        case _:
            return None
