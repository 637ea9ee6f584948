"""The service's own plain completion API: a request of group, messages and tools; the answer is text and tool calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .fields import model_name, optional_field, required_field
from .openai.chat_answer import ChatWriter, call_object
from .openai.chat_request import read_chat
from .sse import json_event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .answer import Answer
    from .faults import Fault
    from .request import CompletionRequest


GROUP: Final = "group:"


@dataclass(frozen=True, slots=True)
class PlainExchange:
    """A request for a plain completion, which knows how to write its answer.

    Attributes:
        tenant_id: The tenant named in the request; None if none is.
    """

    request: CompletionRequest
    tenant_id: str | None = None
    tells_receipt: bool = False

    def document(self, answer: Answer) -> Mapping[str, Any]:
        """The answer's text and tool calls as JSON. See `Exchange.document`."""
        choice = answer.choices[0]
        document = {
            "id": self.request.id,
            "model": choice.receipt.get("endpoint", self.request.model),
            "content": choice.text,
            "tool_calls": [call_object(call, self.request) for call in choice.calls],
            "finish_reason": choice.finish_reason,
            "usage": choice.usage._asdict(),
        }
        return {**document, "receipt": choice.receipt} if self.tells_receipt else document

    def writer(self) -> ChatWriter:
        """A writer for the streamed answer, in the form of Chat Completions. See `Exchange.writer`."""
        return ChatWriter(self.request, tells_receipt=self.tells_receipt)


class PlainWire:
    """The service's own plain completion API, as a `Wire`; errors have the service's usual JSON form."""

    def read(self, body: Mapping[str, Any], *, tells_receipt: bool = False) -> PlainExchange:
        """Parse ``body``; a model name without a prefix is a group's. See `WireOf.read`."""
        group = required_field(body, "model_group", str)
        model = group if group.startswith(("@", GROUP)) else f"{GROUP}{group}"
        others = {name: value for name, value in body.items() if name not in {"model_group", "tenant_id"}}
        request = read_chat({**others, "model": model_name({"model_group": model}, "model_group"), "n": None})
        return PlainExchange(request, optional_field(body, "tenant_id", str), tells_receipt)

    def error(self, fault: Fault, request_id: str) -> tuple[int, Mapping[str, Any]]:  # noqa: ARG002 - told in a header only
        """``fault`` as an HTTP status and a body. See `WireOf.error`."""
        return fault.status, {"error": _described(fault)}

    def stopped(self, fault: Fault) -> bytes:
        """The event that ends a stream when the server stops. See `WireOf.stopped`."""
        return json_event({"error": _described(fault)})


def _described(fault: Fault) -> dict[str, Any]:
    return {
        "code": fault.code,
        "message": fault.message,
        "param": fault.param,
        "call_id": fault.call_id,
        "retry_after_s": fault.retry_after,
    }
