"""Anthropic's Messages API as a wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..estimates import prompt_tokens
from .errors import anthropic_error
from .messages_answer import MessagesWriter, error_event, messages_document
from .messages_request import read_messages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..answer import Answer
    from ..faults import Fault
    from ..request import CompletionRequest
    from .messages_request import MessagesRequest


@dataclass(frozen=True, slots=True)
class MessagesExchange:
    """One request of the Messages API, which also writes its answer. See `Exchange`."""

    asked: MessagesRequest
    tells_receipt: bool = False

    @property
    def request(self) -> CompletionRequest:
        """The request, independent of the wire. See `Exchange.request`."""
        return self.asked.completion

    def document(self, answer: Answer) -> Mapping[str, Any]:
        """The body of the complete answer, as a dict that is ready for JSON. See `Exchange.document`."""
        return messages_document(self.asked, answer, tells_receipt=self.tells_receipt)

    def writer(self) -> MessagesWriter:
        """A writer of the streamed answer. See `Exchange.writer`."""
        return MessagesWriter(self.asked, prompt_tokens(self.request), tells_receipt=self.tells_receipt)


class MessagesWire:
    """Anthropic's Messages API, as a `Wire`."""

    def read(self, body: Mapping[str, Any], *, tells_receipt: bool = False) -> MessagesExchange:
        """Parse ``body`` as a request. See `WireOf.read`."""
        return MessagesExchange(read_messages(body), tells_receipt)

    def error(self, fault: Fault, request_id: str) -> tuple[int, Mapping[str, Any]]:
        """``fault`` as an HTTP status and a body. See `WireOf.error`."""
        return anthropic_error(fault, request_id)

    def stopped(self, fault: Fault) -> bytes:
        """The event that ends a stream when the server stops. See `WireOf.stopped`."""
        return error_event(fault)
