"""Refuses requests that refer to a file stored at a provider, by its id or by an address that needs credentials.

A provider does not know which of our users such a file belongs to: with the operator's key, every user could read every file
that is stored under that key.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from backend.utils.llm.caller import current_caller
from backend.utils.llm.providers.content_blocks import MEDIA, to_standard_blocks

from .faults import InvalidRequestError

_REFUSED: Final = "A file can be named at its provider only where your own key alone pays. Send what is in it, or a public address."
_NAMES: Final = frozenset({"file_id", "file_ids", "file_uri", "fileUri", "container_id"})
"""Of fields with files, in blocks that are handed on as they are."""
_GOOGLES: Final = ".googleapis.com"
_PUBLIC: Final = ".storage.googleapis.com"
"""Where anybody opens what is public or signed, and nothing else."""


def check_provider_file_access(content: object, field_path: str) -> None:
    """Reject a message that refers to a file stored at a provider, unless only the caller's own keys may be used.

    With the operator's keys, users could read one another's files. The error names ``field_path``.

    Raises:
        InvalidRequestError: The message is rejected.
    """
    if current_caller().effective_key_policy != "byok_only" and has_provider_file_reference(content):
        raise InvalidRequestError(f"{field_path}: {_REFUSED}", field_path, "unsupported_parameter")


def has_provider_file_reference(content: object) -> bool:
    """Whether the ``content`` of a message refers to a file stored at a provider, in any vendor's notation."""
    return any(map(_names_file, to_standard_blocks(content)))


def _names_file(part: dict[str, Any]) -> bool:
    match part["type"]:
        case "tool_result":
            return has_provider_file_reference(part["content"])
        case "non_standard":
            return _holds_name(part["value"])
        case kind:
            return kind in MEDIA and ("file_id" in part or _is_googles(part.get("url", "")))


def _holds_name(value: object) -> bool:
    if isinstance(value, dict):
        return any((name in _NAMES and item) or _holds_name(item) for name, item in value.items())
    return isinstance(value, list) and any(map(_holds_name, value))


def _is_googles(address: str) -> bool:
    try:
        host = f".{urlsplit(address).hostname or ''}".removesuffix(".")
    except ValueError:
        return False
    return host.endswith(_GOOGLES) and not host.endswith(_PUBLIC)
