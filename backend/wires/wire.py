"""What a wire is: how requests are read, and answers, events and faults written."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from .answer import Answer, Event
    from .faults import Fault
    from .request import CompletionRequest


class EventWriter(Protocol):
    """Writes the events of one stream, in their order."""

    def write(self, event: Event) -> bytes:
        """``event`` as server-sent events; nothing if the wire has none for it."""
        ...


class Exchange(Protocol):
    """One request of a wire, and how it is answered."""

    @property
    def request(self) -> CompletionRequest:
        """What is asked for."""
        ...

    def document(self, answer: Answer) -> Mapping[str, Any]:
        """The whole answer, JSON-ready."""
        ...

    def writer(self) -> EventWriter:
        """Writes the answer as it comes."""
        ...


ExchangeT_co = TypeVar("ExchangeT_co", bound=Exchange, covariant=True)


class WireOf(Protocol[ExchangeT_co]):
    """A protocol that clients speak, with exchanges of its own."""

    def read(self, body: Mapping[str, Any], *, tells_receipt: bool = False) -> ExchangeT_co:
        """The request that ``body`` is. With ``tells_receipt`` its answer holds the receipts.

        Raises:
            InvalidRequestError: It is none.
        """
        ...

    def error(self, fault: Fault, request_id: str) -> tuple[int, Mapping[str, Any]]:
        """``fault`` as an HTTP status and a body."""
        ...

    def stopped(self, fault: Fault) -> bytes:
        """The event with which a stream ends that the server has to break off."""
        ...


Wire = WireOf[Exchange]
"""Any protocol that clients speak."""


async def written(events: AsyncGenerator[Event], writer: EventWriter) -> AsyncGenerator[bytes]:
    """``events`` as ``writer`` writes them."""
    async with aclosing(events):
        async for event in events:
            if some := writer.write(event):
                yield some
