"""The Protocol of a wire: it reads requests, and writes answers, events and errors."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from .answer import Answer, Event
    from .faults import Fault
    from .request import CompletionRequest


class EventWriter(Protocol):
    """Writes the events of one stream, in order."""

    def write(self, event: Event) -> bytes:
        """``event`` as server-sent events, in bytes; empty for an event that has none in the wire."""
        ...


class Exchange(Protocol):
    """One parsed request of a client, which also knows how to write the answer in the client's protocol."""

    @property
    def request(self) -> CompletionRequest:
        """The request in the form that all wires share."""
        ...

    def document(self, answer: Answer) -> Mapping[str, Any]:
        """The JSON body of a complete answer, as a dict."""
        ...

    def writer(self) -> EventWriter:
        """A new writer for the answer as a stream. It keeps state, so each stream needs its own."""
        ...


ExchangeT_co = TypeVar("ExchangeT_co", bound=Exchange, covariant=True)


class WireOf(Protocol[ExchangeT_co]):
    """An HTTP protocol that clients speak, such as Chat Completions: reads requests, and writes errors."""

    def read(self, body: Mapping[str, Any], *, tells_receipt: bool = False) -> ExchangeT_co:
        """Parse ``body`` as a request. With ``tells_receipt``, its answer will hold the receipts.

        Raises:
            InvalidRequestError: ``body`` is no valid request.
        """
        ...

    def error(self, fault: Fault, request_id: str) -> tuple[int, Mapping[str, Any]]:
        """The HTTP status and the JSON body of an error response."""
        ...

    def stopped(self, fault: Fault) -> bytes:
        """The bytes of the event that ends a stream when the server stops."""
        ...


Wire = WireOf[Exchange]
"""Any protocol that clients speak."""


async def written(events: AsyncGenerator[Event], writer: EventWriter) -> AsyncGenerator[bytes]:
    """Translate ``events`` into the bytes of the HTTP response, with ``writer``."""
    async with aclosing(events):
        async for event in events:
            if some := writer.write(event):
                yield some
