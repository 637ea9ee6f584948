"""Anthropic's Messages API as a wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..estimates import estimate_prompt_tokens
from .errors import to_anthropic_error
from .messages_answer import MessagesEventWriter, encode_error_event, make_messages_response_body
from .messages_request import parse_messages_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..answer import Answer
    from ..faults import RequestFault
    from ..request import CompletionRequest
    from .messages_request import MessagesRequest


@dataclass(frozen=True, slots=True)
class MessagesExchange:
    """A parsed request of the Messages API, with methods to encode the answer for that API. See `WireExchange`."""

    asked: MessagesRequest
    includes_receipt: bool = False

    @property
    def request(self) -> CompletionRequest:
        """The request in its protocol-independent form. See `WireExchange.request`."""
        return self.asked.completion

    def make_response_body(self, answer: Answer) -> Mapping[str, Any]:
        """Build the JSON body of the complete answer, as a dict. See `WireExchange.make_response_body`."""
        return make_messages_response_body(self.asked, answer, includes_receipt=self.includes_receipt)

    def make_event_writer(self) -> MessagesEventWriter:
        """Make the writer that encodes a streamed answer. See `WireExchange.make_event_writer`."""
        return MessagesEventWriter(
            self.asked, estimate_prompt_tokens(self.request), includes_receipt=self.includes_receipt
        )


class MessagesWire:
    """Serves Anthropic's Messages API to clients: parses requests, and encodes errors. See `WireProtocol`."""

    def parse_request(self, body: Mapping[str, Any], *, includes_receipt: bool = False) -> MessagesExchange:
        """Parse the JSON ``body`` of a Messages request. See `WireProtocol.parse_request`."""
        return MessagesExchange(parse_messages_request(body), includes_receipt)

    def to_error_response(self, fault: RequestFault, request_id: str) -> tuple[int, Mapping[str, Any]]:
        """Build the HTTP status and the JSON body of an error response. See `WireProtocol.to_error_response`."""
        return to_anthropic_error(fault, request_id)

    def encode_shutdown_event(self, fault: RequestFault) -> bytes:
        """Encode the event that ends an open stream when the server shuts down. See `WireProtocol.encode_shutdown_event`."""
        return encode_error_event(fault)
