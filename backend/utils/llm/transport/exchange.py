"""A request before it is signed, and what came back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .streams import AsyncBody, Body


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be sent. Whatever identifies somebody is taken off its headers, and the attempt's credential put on.

    Attributes:
        headers: By their names in lower case.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to a request from a thread. What its body says is decoded already.

    Attributes:
        content: The whole body, without the key, if it is an error; else empty.
        body: The body as it comes, if it is no error.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(default=b"", repr=False)
    body: Body | None = None

    def read(self) -> bytes:
        """All of it; then the connection is given back.

        Raises:
            httpx2.TransportError: It broke off, or the attempt's time is up.
        """
        if self.body is None:
            return self.content
        self.body.is_document = True
        try:
            return b"".join(self.body)
        finally:
            self.body.close()


@dataclass(frozen=True, slots=True)
class AsyncReply:
    """As `Reply`, to a request from an event loop."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(default=b"", repr=False)
    body: AsyncBody | None = None

    async def read(self) -> bytes:
        """As `Reply.read`."""
        if self.body is None:
            return self.content
        self.body.is_document = True
        try:
            return b"".join([part async for part in self.body])
        finally:
            self.body.close()
