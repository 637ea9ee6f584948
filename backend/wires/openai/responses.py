"""OpenAI's Responses API as a wire. Nothing is stored: every request brings the whole conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..sse import json_event
from .errors import openai_error
from .responses_answer import Resource, ending_fields, items_of, output_of, responses_usage
from .responses_events import ResponsesWriter
from .responses_request import read_responses

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..answer import Answer
    from ..faults import Fault
    from ..request import CompletionRequest
    from .responses_request import ResponsesRequest


@dataclass(frozen=True, slots=True)
class ResponsesExchange:
    """One request of the Responses API, which also writes its answer. See `Exchange`."""

    asked: ResponsesRequest
    tells_receipt: bool = False

    @property
    def request(self) -> CompletionRequest:
        """The request, independent of the wire. See `Exchange.request`."""
        return self.asked.request

    def document(self, answer: Answer) -> Mapping[str, Any]:
        """The body of the complete answer, as a dict that is ready for JSON. See `Exchange.document`."""
        choice = answer.choices[0]
        status, more = ending_fields(choice.finish_reason)
        output = output_of(
            items_of(choice, self.asked), "completed" if status == "completed" else "incomplete"
        )
        if self.tells_receipt:
            more["patchbay"] = {"receipts": [choice.receipt]}
        return Resource(self.asked).document(status, output, usage=responses_usage(choice.usage), **more)

    def writer(self) -> ResponsesWriter:
        """A writer of the streamed answer. See `Exchange.writer`."""
        return ResponsesWriter(self.asked, tells_receipt=self.tells_receipt)


class ResponsesWire:
    """OpenAI's Responses API, as a `Wire`."""

    def read(self, body: Mapping[str, Any], *, tells_receipt: bool = False) -> ResponsesExchange:
        """Parse ``body`` as a request. See `WireOf.read`."""
        return ResponsesExchange(read_responses(body), tells_receipt)

    def error(self, fault: Fault, request_id: str) -> tuple[int, Mapping[str, Any]]:  # noqa: ARG002 - told in a header only
        """``fault`` as an HTTP status and a body. See `WireOf.error`."""
        status, error = openai_error(fault)
        return status, {"error": error}

    def stopped(self, fault: Fault) -> bytes:
        """The event that ends a stream when the server stops. See `WireOf.stopped`."""
        return json_event({"type": "error", "sequence_number": 0, **openai_error(fault)[1]}, "error")
