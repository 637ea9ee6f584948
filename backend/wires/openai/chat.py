"""OpenAI's Chat Completions as a wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..fields import optional_field
from ..sse import json_event
from .chat_answer import ChatWriter, chat_document
from .chat_request import read_chat
from .errors import openai_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..answer import Answer
    from ..faults import Fault
    from ..request import CompletionRequest


@dataclass(frozen=True, slots=True)
class ChatExchange:
    """One request of Chat Completions, which also writes its answer. See `Exchange`."""

    request: CompletionRequest
    own_usage_chunk: bool = False
    tells_receipt: bool = False

    def document(self, answer: Answer) -> Mapping[str, Any]:
        """The body of the complete answer, as a dict that is ready for JSON. See `Exchange.document`."""
        return chat_document(self.request, answer, tells_receipt=self.tells_receipt)

    def writer(self) -> ChatWriter:
        """A writer of the streamed answer. See `Exchange.writer`."""
        return ChatWriter(
            self.request, own_usage_chunk=self.own_usage_chunk, tells_receipt=self.tells_receipt
        )


class ChatWire:
    """OpenAI's Chat Completions, as a `Wire`."""

    def read(self, body: Mapping[str, Any], *, tells_receipt: bool = False) -> ChatExchange:
        """Parse ``body`` as a request. See `WireOf.read`."""
        options = optional_field(body, "stream_options", dict) or {}
        own_chunk = optional_field(options, "include_usage", bool, "stream_options.") or False
        return ChatExchange(read_chat(body), own_chunk, tells_receipt)

    def error(self, fault: Fault, request_id: str) -> tuple[int, Mapping[str, Any]]:  # noqa: ARG002 - told in a header only
        """``fault`` as an HTTP status and a body. See `WireOf.error`."""
        status, error = openai_error(fault)
        return status, {"error": error}

    def stopped(self, fault: Fault) -> bytes:
        """The event that ends a stream when the server stops. See `WireOf.stopped`."""
        return json_event({"error": openai_error(fault)[1]})
