"""Checks the content of a message: a text, or a list of content parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..faults import InvalidRequestError
from ..fields import iter_objects_with_paths, read_required_field
from ..files import check_provider_file_access

if TYPE_CHECKING:
    from collections.abc import Mapping

    Parts = Mapping[str, tuple[str, type] | None]
    """The required field of each type of content part, with the field's type."""


def check_message_content(content: Any, field_path: str, allowed_parts: Parts) -> Any:
    """Check the content of a message, and return it unchanged; an empty text if it is None.

    Args:
        content: The content: a text, or a list of content parts.
        field_path: The path of the content in the request, for error messages.
        allowed_parts: The allowed types of content parts, each with its required field and the field's type.

    Raises:
        InvalidRequestError: ``content`` has another form, or refers to a file stored at a provider that the
            caller may not use.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise InvalidRequestError(f"`{field_path}` has to be a text, or a list of parts.", field_path)
    for part, at in iter_objects_with_paths(content, field_path):
        kind = read_required_field(part, "type", str, f"{at}.")
        if kind not in allowed_parts:
            raise InvalidRequestError(
                f"`{at}.type` is none of {', '.join(sorted(allowed_parts))}.", f"{at}.type"
            )
        if (has := allowed_parts[kind]) is not None:
            read_required_field(part, *has, f"{at}.")
        check_provider_file_access([part], at)
    return content
