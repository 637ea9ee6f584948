"""The HTTP request that a chat client passes to the transport."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request to send. The transport adds the API key, and removes headers that identify a sender.

    Attributes:
        headers: The headers; their names are in lower case.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    method: str = "POST"
