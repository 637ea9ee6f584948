"""Anthropic's Messages API as a wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..estimates import estimate_prompt_tokens
from .errors import to_anthropic_error
from .messages_answer import MessagesEventWriter, error_event, make_messages_response_body
from .messages_request import parse_messages_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..answer import Answer
    from ..faults import RequestFault
    from ..request import CompletionRequest
    from .messages_request import MessagesRequest


@dataclass(frozen=True, slots=True)
class MessagesExchange:
    """A parsed request of the Messages API, which also writes the answer in that API's form. See `WireExchange`."""

    asked: MessagesRequest
    tells_receipt: bool = False

    @property
    def request(self) -> CompletionRequest:
        """The request in the form that is the same for all protocols. See `WireExchange.request`."""
        return self.asked.completion

    def response_body(self, answer: Answer) -> Mapping[str, Any]:
        """Build the JSON body of the complete answer, as a dict. See `WireExchange.response_body`."""
        return make_messages_response_body(self.asked, answer, tells_receipt=self.tells_receipt)

    def make_event_writer(self) -> MessagesEventWriter:
        """Make the writer that encodes a streamed answer. See `WireExchange.make_event_writer`."""
        return MessagesEventWriter(
            self.asked, estimate_prompt_tokens(self.request), tells_receipt=self.tells_receipt
        )


class MessagesWire:
    """Anthropic's Messages API as one of the HTTP protocols that clients may speak. See `WireProtocol`."""

    def parse_request(self, body: Mapping[str, Any], *, tells_receipt: bool = False) -> MessagesExchange:
        """Parse the JSON ``body`` of a Messages request. See `WireProtocol.parse_request`."""
        return MessagesExchange(parse_messages_request(body), tells_receipt)

    def error_response(self, fault: RequestFault, request_id: str) -> tuple[int, Mapping[str, Any]]:
        """Build the HTTP status and the JSON body of an error response. See `WireProtocol.error_response`."""
        return to_anthropic_error(fault, request_id)

    def shutdown_event(self, fault: RequestFault) -> bytes:
        """Encode the event that ends an open stream when the server shuts down. See `WireProtocol.shutdown_event`."""
        return error_event(fault)
