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
    """A request of a wire, with the writers of its answer."""

    @property
    def request(self) -> CompletionRequest:
        """The request, independent of the wire."""
        ...

    def document(self, answer: Answer) -> Mapping[str, Any]:
        """The body of the complete answer, as a dict that is ready for JSON."""
        ...

    def writer(self) -> EventWriter:
        """A writer of the streamed answer."""
        ...


ExchangeT_co = TypeVar("ExchangeT_co", bound=Exchange, covariant=True)


class WireOf(Protocol[ExchangeT_co]):
    """A protocol that clients speak, with its own kind of exchange."""

    def read(self, body: Mapping[str, Any], *, tells_receipt: bool = False) -> ExchangeT_co:
        """Parse ``body`` as a request. With ``tells_receipt``, its answer will hold the receipts.

        Raises:
            InvalidRequestError: ``body`` is no valid request.
        """
        ...

    def error(self, fault: Fault, request_id: str) -> tuple[int, Mapping[str, Any]]:
        """``fault`` as an HTTP status and a body."""
        ...

    def stopped(self, fault: Fault) -> bytes:
        """The event that ends a stream when the server stops."""
        ...


Wire = WireOf[Exchange]
"""Any protocol that clients speak."""


async def written(events: AsyncGenerator[Event], writer: EventWriter) -> AsyncGenerator[bytes]:
    """``events`` as bytes, written by ``writer``."""
    async with aclosing(events):
        async for event in events:
            if some := writer.write(event):
                yield some
