"""The content of a message: a text, or a list of content parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..faults import InvalidRequestError
from ..fields import objects, required_field
from ..files import check_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    Parts = Mapping[str, tuple[str, type] | None]
    """The required field of each type of content part, with the field's type."""


def content_of(content: Any, place: str, parts: Parts) -> Any:
    """Check the content of a message, and return it unchanged.

    Raises:
        InvalidRequestError: ``content`` is neither a text nor a list of ``parts``, or refers to a file without permission.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise InvalidRequestError(f"`{place}` has to be a text, or a list of parts.", place)
    for part, at in objects(content, place):
        kind = required_field(part, "type", str, f"{at}.")
        if kind not in parts:
            raise InvalidRequestError(f"`{at}.type` is none of {', '.join(sorted(parts))}.", f"{at}.type")
        if (has := parts[kind]) is not None:
            required_field(part, *has, f"{at}.")
        check_files([part], at)
    return content
