"""OpenAI's Responses API as a wire. Nothing is stored: every request brings the whole conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..sse import encode_json_event
from .errors import to_openai_error
from .responses_answer import (
    ResponseObject,
    to_output_items,
    to_output_list,
    to_responses_usage,
    to_status_and_details,
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
    """A parsed request of the Responses API, which also writes the answer in that API's form. See `WireExchange`."""

    asked: ResponsesRequest
    tells_receipt: bool = False

    @property
    def request(self) -> CompletionRequest:
        """The request in the form that is the same for all protocols. See `WireExchange.request`."""
        return self.asked.request

    def response_body(self, answer: Answer) -> Mapping[str, Any]:
        """Build the JSON body of the complete answer, as a dict. See `WireExchange.response_body`."""
        choice = answer.choices[0]
        status, more = to_status_and_details(choice.finish_reason)
        output = to_output_list(
            to_output_items(choice, self.asked), "completed" if status == "completed" else "incomplete"
        )
        if self.tells_receipt:
            more["patchbay"] = {"receipts": [choice.receipt]}
        return ResponseObject(self.asked).as_dict(
            status, output, usage=to_responses_usage(choice.usage), **more
        )

    def make_event_writer(self) -> ResponsesEventWriter:
        """Make the writer that encodes a streamed answer. See `WireExchange.make_event_writer`."""
        return ResponsesEventWriter(self.asked, tells_receipt=self.tells_receipt)


class ResponsesWire:
    """OpenAI's Responses API as one of the HTTP protocols that clients may speak. See `WireProtocol`."""

    def parse_request(self, body: Mapping[str, Any], *, tells_receipt: bool = False) -> ResponsesExchange:
        """Parse the JSON ``body`` of a Responses request. See `WireProtocol.parse_request`."""
        return ResponsesExchange(parse_responses_request(body), tells_receipt)

    def error_response(self, fault: RequestFault, request_id: str) -> tuple[int, Mapping[str, Any]]:  # noqa: ARG002 - told in a header only
        """Build the HTTP status and the JSON body of an error response. See `WireProtocol.error_response`."""
        status, error = to_openai_error(fault)
        return status, {"error": error}

    def shutdown_event(self, fault: RequestFault) -> bytes:
        """Encode the event that ends an open stream when the server shuts down. See `WireProtocol.shutdown_event`."""
        return encode_json_event(
            {"type": "error", "sequence_number": 0, **to_openai_error(fault)[1]}, "error"
        )
