"""The Messages API as a wire."""

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
    """One request of the Messages API."""

    asked: MessagesRequest
    tells_receipt: bool = False

    @property
    def request(self) -> CompletionRequest:
        """See `Exchange.request`."""
        return self.asked.completion

    def document(self, answer: Answer) -> Mapping[str, Any]:
        """See `Exchange.document`."""
        return messages_document(self.asked, answer, tells_receipt=self.tells_receipt)

    def writer(self) -> MessagesWriter:
        """See `Exchange.writer`."""
        return MessagesWriter(self.asked, prompt_tokens(self.request), tells_receipt=self.tells_receipt)


class MessagesWire:
    """The Messages API."""

    def read(self, body: Mapping[str, Any], *, tells_receipt: bool = False) -> MessagesExchange:
        """See `Wire.read`."""
        return MessagesExchange(read_messages(body), tells_receipt)

    def error(self, fault: Fault, request_id: str) -> tuple[int, Mapping[str, Any]]:
        """See `Wire.error`."""
        return anthropic_error(fault, request_id)

    def stopped(self, fault: Fault) -> bytes:
        """See `Wire.stopped`."""
        return error_event(fault)
