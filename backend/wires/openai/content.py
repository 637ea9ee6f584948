"""The content of a message: a text, or parts in the notation of one of the wires."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..faults import InvalidRequestError
from ..fields import objects, required
from ..files import check_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    Parts = Mapping[str, tuple[str, type] | None]
    """Each type of part that a wire knows, with the field that it has to have, and what that is."""


def content_of(content: Any, place: str, parts: Parts) -> Any:
    """``content`` as it is, which histories are put into normal form from.

    Raises:
        InvalidRequestError: It is neither a text nor a list of ``parts``, or names a file that it may not.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise InvalidRequestError(f"`{place}` has to be a text, or a list of parts.", place)
    for part, at in objects(content, place):
        kind = required(part, "type", str, f"{at}.")
        if kind not in parts:
            raise InvalidRequestError(f"`{at}.type` is none of {', '.join(sorted(parts))}.", f"{at}.type")
        if (has := parts[kind]) is not None:
            required(part, *has, f"{at}.")
        check_files([part], at)
    return content
