"""Refuses requests that refer to a file stored at a provider, by its id or by an address that needs credentials.

A provider does not know which of our users such a file belongs to: with the operator's key, every user could read every file
that is stored under that key.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from backend.utils.llm.caller import current_caller
from backend.utils.llm.providers.content_blocks import MEDIA, standard_blocks

from .faults import InvalidRequestError

_REFUSED: Final = "A file can be named at its provider only where your own key alone pays. Send what is in it, or a public address."
_NAMES: Final = frozenset({"file_id", "file_ids", "file_uri", "fileUri", "container_id"})
"""Of fields with files, in blocks that are handed on as they are."""
_GOOGLES: Final = ".googleapis.com"
_PUBLIC: Final = ".storage.googleapis.com"
"""Where anybody opens what is public or signed, and nothing else."""


def check_files(content: object, place: str) -> None:
    """Refuse ``content`` that names a file stored at a provider, unless the caller's requests use only the caller's own keys.

    Args:
        content: The content of a message.
        place: Its path in the request, for the error message.

    Raises:
        InvalidRequestError: ``content`` names such a file, and the operator's key may be used.
    """
    if current_caller().policy != "byok_only" and names_files(content):
        raise InvalidRequestError(f"{place}: {_REFUSED}", place, "unsupported_parameter")


def names_files(content: object) -> bool:
    """Whether the ``content`` of a message refers to a file stored at a provider, in the notation of any vendor."""
    return any(map(_names_file, standard_blocks(content)))


def _names_file(part: dict[str, Any]) -> bool:
    match part["type"]:
        case "tool_result":
            return names_files(part["content"])
        case "non_standard":
            return _holds_name(part["value"])
        case kind:
            return kind in MEDIA and ("file_id" in part or _is_googles(part.get("url", "")))


def _holds_name(value: object) -> bool:
    if isinstance(value, dict):
        return any((name in _NAMES and one) or _holds_name(one) for name, one in value.items())
    return isinstance(value, list) and any(map(_holds_name, value))


def _is_googles(address: str) -> bool:
    try:
        host = f".{urlsplit(address).hostname or ''}".removesuffix(".")
    except ValueError:
        return False
    return host.endswith(_GOOGLES) and not host.endswith(_PUBLIC)
