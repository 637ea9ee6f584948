"""A plain completion: a group, messages, maybe tools; text and calls of tools come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .fields import model_name, required, taken
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
    """One request for a plain completion.

    Attributes:
        tenant_id: On whose behalf it is asked; None if nobody is named.
    """

    request: CompletionRequest
    tenant_id: str | None = None
    tells_receipt: bool = False

    def document(self, answer: Answer) -> Mapping[str, Any]:
        """See `Exchange.document`. Text that stands beside calls is kept."""
        choice = answer.choices[0]
        document = {
            "id": self.request.id,
            "model": choice.receipt.get("endpoint", self.request.model),
            "content": choice.text,
            "tool_calls": [call_object(call) for call in choice.calls],
            "finish_reason": choice.finish_reason,
            "usage": choice.usage._asdict(),
        }
        return {**document, "receipt": choice.receipt} if self.tells_receipt else document

    def writer(self) -> ChatWriter:
        """See `Exchange.writer`: a stream is one of Chat Completions."""
        return ChatWriter(self.request, tells_receipt=self.tells_receipt)


class PlainWire:
    """The plain completion, with errors in this service's own words."""

    def read(self, body: Mapping[str, Any], *, tells_receipt: bool = False) -> PlainExchange:
        """See `Wire.read`. A name without a prefix is a group's."""
        group = required(body, "model_group", str)
        model = group if group.startswith(("@", GROUP)) else f"{GROUP}{group}"
        others = {name: value for name, value in body.items() if name not in {"model_group", "tenant_id"}}
        request = read_chat({**others, "model": model_name({"model_group": model}, "model_group"), "n": None})
        return PlainExchange(request, taken(body, "tenant_id", str), tells_receipt)

    def error(self, fault: Fault, request_id: str) -> tuple[int, Mapping[str, Any]]:  # noqa: ARG002 - told in a header only
        """See `Wire.error`."""
        return fault.status, {"error": _described(fault)}

    def stopped(self, fault: Fault) -> bytes:
        """See `Wire.stopped`."""
        return json_event({"error": _described(fault)})


def _described(fault: Fault) -> dict[str, Any]:
    return {
        "code": fault.code,
        "message": fault.message,
        "param": fault.param,
        "call_id": fault.call_id,
        "retry_after_s": fault.retry_after,
    }
