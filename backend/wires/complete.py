"""The service's own completion API, which takes a model group, messages and tools, and returns text and tool calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .fields import read_model_name, read_optional_field, read_required_field
from .openai.chat_answer import ChatEventWriter, make_tool_call_object
from .openai.chat_request import parse_chat_request
from .sse import encode_json_event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .answer import Answer
    from .faults import RequestFault
    from .request import CompletionRequest


GROUP: Final = "group:"


@dataclass(frozen=True, slots=True)
class NativeCompletionExchange:
    """A parsed request of the service's own completion API, with methods to encode the answer. See `WireExchange`.

    Attributes:
        tenant_id: The tenant that the request names; None if it names none.
    """

    request: CompletionRequest
    tenant_id: str | None = None
    includes_receipt: bool = False

    def make_response_body(self, answer: Answer) -> Mapping[str, Any]:
        """Build the JSON body of the complete answer, with its text and tool calls. See `WireExchange.make_response_body`."""
        choice = answer.choices[0]
        document = {
            "id": self.request.id,
            "model": choice.receipt.get("endpoint", self.request.model),
            "content": choice.text,
            "tool_calls": [make_tool_call_object(call, self.request) for call in choice.calls],
            "finish_reason": choice.finish_reason,
            "usage": choice.usage._asdict(),
        }
        return {**document, "receipt": choice.receipt} if self.includes_receipt else document

    def make_event_writer(self) -> ChatEventWriter:
        """Make the writer that encodes a streamed answer as chunks of Chat Completions.

        See `WireExchange.make_event_writer`.
        """
        return ChatEventWriter(self.request, includes_receipt=self.includes_receipt)


class NativeCompletionWire:
    """Serves the service's own completion API to clients: parses requests, and encodes errors. See `WireProtocol`."""

    def parse_request(
        self, body: Mapping[str, Any], *, includes_receipt: bool = False
    ) -> NativeCompletionExchange:
        """Parse the JSON ``body`` of a request. See `WireProtocol.parse_request`.

        ``model_group`` names a group of models, or with a leading ``@`` an agent.
        """
        group = read_required_field(body, "model_group", str)
        model = group if group.startswith(("@", GROUP)) else f"{GROUP}{group}"
        others = {name: value for name, value in body.items() if name not in {"model_group", "tenant_id"}}
        request = parse_chat_request(
            {**others, "model": read_model_name({"model_group": model}, "model_group"), "n": None}
        )
        return NativeCompletionExchange(
            request, read_optional_field(body, "tenant_id", str), includes_receipt
        )

    def to_error_response(self, fault: RequestFault, request_id: str) -> tuple[int, Mapping[str, Any]]:  # noqa: ARG002 - told in a header only
        """Build the HTTP status and the JSON body of an error response. See `WireProtocol.to_error_response`."""
        return fault.status, {"error": _described(fault)}

    def encode_shutdown_event(self, fault: RequestFault) -> bytes:
        """Encode the event that ends an open stream when the server shuts down. See `WireProtocol.encode_shutdown_event`."""
        return encode_json_event({"error": _described(fault)})


def _described(fault: RequestFault) -> dict[str, Any]:
    return {
        "code": fault.code,
        "message": fault.message,
        "param": fault.param,
        "call_id": fault.call_id,
        "retry_after_s": fault.retry_after,
    }
