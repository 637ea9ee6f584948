"""A provider's reasoning items as an opaque text, which the client keeps and sends back unchanged.

Anthropic signs its thinking blocks, OpenAI and Gemini have objects of their own, and in a stream the items are complete
only at the end. So all items of an answer are packed together with the name of their endpoint, and no other provider gets
them.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from backend.utils.llm.providers.ask import REASONING_KEY
from backend.utils.llm.receipt import RECEIPT_KEY

from .bodies import values_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PREFIX: Final = "patchbay:"
_MOST_VALUES: Final = 200
"""Of one answer's thoughts. Nobody has as many, and a client may send thousands of texts."""


class Thoughts(NamedTuple):
    """A provider's reasoning items, which have to be sent back to the same provider.

    Attributes:
        endpoint: The endpoint whose answer had the items, as ``provider:model``.
    """

    endpoint: str
    items: Sequence[Mapping[str, Any]]

    def in_message(self) -> dict[str, Any]:
        """The fields of an `AIMessage` in which the provider's serializer looks for reasoning items."""
        return {
            "additional_kwargs": {REASONING_KEY: list(self.items)},
            "response_metadata": {RECEIPT_KEY: {"endpoint": self.endpoint}},
        }


def packed(items: Sequence[Mapping[str, Any]], receipt: Mapping[str, Any]) -> str:
    """Pack a provider's reasoning items into one opaque text, which a client can store and send back.

    Args:
        items: The provider's items.
        receipt: The receipt of the call, which names the endpoint.
    """
    held = json.dumps(
        {"endpoint": str(receipt.get("endpoint")), "items": items}, ensure_ascii=False, separators=(",", ":")
    )
    return _PREFIX + base64.b64encode(held.encode(errors="surrogatepass")).decode()


def unpacked(text: object) -> Thoughts | None:
    """Read a text made by `packed`. None for any other value, and for a text that is damaged or has too many values."""
    if not isinstance(text, str) or not text.startswith(_PREFIX):
        return None
    try:
        plain = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        held = None if values_in(plain, _MOST_VALUES) > _MOST_VALUES else json.loads(plain)
    except (binascii.Error, ValueError, RecursionError):
        return None
    match held:
        case {"endpoint": str(endpoint), "items": [*items]} if all(isinstance(item, dict) for item in items):
            return Thoughts(endpoint, items)
        case _:
            return None
