"""OpenAI's Chat Completions as a wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..fields import read_optional_field
from ..sse import encode_json_event
from .chat_answer import ChatEventWriter, make_chat_response_body
from .chat_request import parse_chat_request
from .errors import to_openai_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..answer import Answer
    from ..faults import RequestFault
    from ..request import CompletionRequest


@dataclass(frozen=True, slots=True)
class ChatExchange:
    """A parsed request of Chat Completions, with methods to encode the answer for that API. See `WireExchange`."""

    request: CompletionRequest
    own_usage_chunk: bool = False
    includes_receipt: bool = False

    def make_response_body(self, answer: Answer) -> Mapping[str, Any]:
        """Build the JSON body of the complete answer, as a dict. See `WireExchange.make_response_body`."""
        return make_chat_response_body(self.request, answer, includes_receipt=self.includes_receipt)

    def make_event_writer(self) -> ChatEventWriter:
        """Make the writer that encodes a streamed answer. See `WireExchange.make_event_writer`."""
        return ChatEventWriter(
            self.request, separate_usage_chunk=self.own_usage_chunk, includes_receipt=self.includes_receipt
        )


class ChatWire:
    """Serves OpenAI's Chat Completions to clients: parses requests, and encodes errors. See `WireProtocol`."""

    def parse_request(self, body: Mapping[str, Any], *, includes_receipt: bool = False) -> ChatExchange:
        """Parse the JSON ``body`` of a Chat Completions request. See `WireProtocol.parse_request`."""
        options = read_optional_field(body, "stream_options", dict) or {}
        own_chunk = read_optional_field(options, "include_usage", bool, "stream_options.") or False
        return ChatExchange(parse_chat_request(body), own_chunk, includes_receipt)

    def to_error_response(self, fault: RequestFault, request_id: str) -> tuple[int, Mapping[str, Any]]:  # noqa: ARG002 - told in a header only
        """Build the HTTP status and the JSON body of an error response. See `WireProtocol.to_error_response`."""
        status, error = to_openai_error(fault)
        return status, {"error": error}

    def encode_shutdown_event(self, fault: RequestFault) -> bytes:
        """Encode the event that ends an open stream when the server shuts down. See `WireProtocol.encode_shutdown_event`."""
        return encode_json_event({"error": to_openai_error(fault)[1]})
