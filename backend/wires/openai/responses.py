"""OpenAI's Responses API as a wire. Nothing is stored: every request brings the whole conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..sse import encode_json_event
from .errors import to_openai_error
from .responses_answer import (
    ResponseObject,
    serialize_output_items,
    status_from_finish_reason,
    to_output_items,
    to_responses_usage,
)
from .responses_events import ResponsesEventWriter
from .responses_request import parse_responses_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..answer import Answer
    from ..faults import RequestFault
    from ..request import CompletionRequest
    from .responses_request import ResponsesRequest


@dataclass(frozen=True, slots=True)
class ResponsesExchange:
    """A parsed request of the Responses API, with methods to encode the answer for that API. See `WireExchange`."""

    asked: ResponsesRequest
    includes_receipt: bool = False

    @property
    def request(self) -> CompletionRequest:
        """The request in its protocol-independent form. See `WireExchange.request`."""
        return self.asked.request

    def make_response_body(self, answer: Answer) -> Mapping[str, Any]:
        """Build the JSON body of the complete answer, as a dict. See `WireExchange.make_response_body`."""
        choice = answer.choices[0]
        status, more = status_from_finish_reason(choice.finish_reason)
        output = serialize_output_items(
            to_output_items(choice, self.asked), "completed" if status == "completed" else "incomplete"
        )
        if self.includes_receipt:
            more["patchbay"] = {"receipts": [choice.receipt]}
        return ResponseObject(self.asked).as_dict(
            status, output, usage=to_responses_usage(choice.usage), **more
        )

    def make_event_writer(self) -> ResponsesEventWriter:
        """Make the writer that encodes a streamed answer. See `WireExchange.make_event_writer`."""
        return ResponsesEventWriter(self.asked, includes_receipt=self.includes_receipt)


class ResponsesWire:
    """Serves OpenAI's Responses API to clients: parses requests, and encodes errors. See `WireProtocol`."""

    def parse_request(self, body: Mapping[str, Any], *, includes_receipt: bool = False) -> ResponsesExchange:
        """Parse the JSON ``body`` of a Responses request. See `WireProtocol.parse_request`."""
        return ResponsesExchange(parse_responses_request(body), includes_receipt)

    def to_error_response(self, fault: RequestFault, request_id: str) -> tuple[int, Mapping[str, Any]]:  # noqa: ARG002 - told in a header only
        """Build the HTTP status and the JSON body of an error response. See `WireProtocol.to_error_response`."""
        status, error = to_openai_error(fault)
        return status, {"error": error}

    def encode_shutdown_event(self, fault: RequestFault) -> bytes:
        """Encode the event that ends an open stream when the server shuts down. See `WireProtocol.encode_shutdown_event`."""
        return encode_json_event(
            {"type": "error", "sequence_number": 0, **to_openai_error(fault)[1]}, "error"
        )
