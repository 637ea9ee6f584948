"""A request as the transport is given it, and as it sends it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request to send. The transport removes identifying headers and adds the attempt's credential.

    Attributes:
        headers: The headers, by their names in lower case.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    method: str = "POST"
