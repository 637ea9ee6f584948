"""The interface of a wire: an HTTP protocol that parses requests, and writes answers, events and errors."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from .answer import Answer, Event
    from .faults import RequestFault
    from .request import CompletionRequest


class EventWriter(Protocol):
    """Encodes the events of one streamed answer, in order. It keeps state, so each stream needs a writer of its own."""

    def encode(self, event: Event) -> bytes:
        """Encode ``event`` as server-sent events of the client's protocol.

        Returns empty bytes if the protocol has no such event.
        """
        ...


class WireExchange(Protocol):
    """One parsed request of a client, with methods to encode the answer in the client's protocol."""

    @property
    def request(self) -> CompletionRequest:
        """The request in its protocol-independent form."""
        ...

    def make_response_body(self, answer: Answer) -> Mapping[str, Any]:
        """Build the JSON body of a complete answer, as a dict."""
        ...

    def make_event_writer(self) -> EventWriter:
        """Make a new writer that encodes a streamed answer. Each stream needs a writer of its own."""
        ...


ExchangeT_co = TypeVar("ExchangeT_co", bound=WireExchange, covariant=True)


class WireProtocol(Protocol[ExchangeT_co]):
    """An HTTP protocol that clients speak, such as Chat Completions.

    Parses requests, and writes errors in the protocol's form. Generic over the type of the parsed requests.
    """

    def parse_request(self, body: Mapping[str, Any], *, includes_receipt: bool = False) -> ExchangeT_co:
        """Parse the JSON body of a request.

        Args:
            body: The JSON body.
            includes_receipt: Whether the answer will include the receipts of its calls.

        Raises:
            InvalidRequestError: ``body`` is no valid request.
        """
        ...

    def to_error_response(self, fault: RequestFault, request_id: str) -> tuple[int, Mapping[str, Any]]:
        """Build the HTTP status and the JSON body of an error response."""
        ...

    def encode_shutdown_event(self, fault: RequestFault) -> bytes:
        """Encode the event that ends an open stream when the server shuts down."""
        ...


Wire = WireProtocol[WireExchange]
"""Any protocol that clients speak."""


async def encode_event_stream(events: AsyncGenerator[Event], writer: EventWriter) -> AsyncGenerator[bytes]:
    """Encode ``events`` with ``writer``, and yield the bytes of the HTTP response. Closes ``events`` at the end."""
    async with aclosing(events):
        async for event in events:
            if some := writer.encode(event):
                yield some
