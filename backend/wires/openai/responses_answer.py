"""The response object of the Responses API, and its output items."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from ..sse import encode_json
from ..thoughts import encode_reasoning_items
from .custom_tools import unwrap_custom_input

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from backend.utils.llm.receipt import TokenUsage

    from ..answer import Choice, FinishReason
    from .responses_request import ResponsesRequest
    from .responses_tools import ClientTool

ItemStatus = Literal["in_progress", "completed", "incomplete"]

_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponseObject:
    """Builds the ``response`` object of the Responses API for one request. Many stream events repeat the object."""

    def __init__(self, request: ResponsesRequest, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self.id = f"resp_{request.request.id}"
        self._constant = {
            "id": self.id,
            "object": "response",
            "created_at": request.request.created,
            **request.echo,
        }
        self._beginning: bytes | None = None

    def as_dict(
        self, status: str, output: Sequence[Mapping[str, Any]] = (), **extra_fields: Any
    ) -> dict[str, Any]:
        """Build the response object as a dict.

        Args:
            status: The status of the response, such as ``in_progress``.
            output: The output items so far.
            extra_fields: Further fields of the object, such as ``usage``.
        """
        return {**self._constant, **self._changing(status, output, extra_fields)}

    def to_json_bytes(
        self, status: str, output: Sequence[Mapping[str, Any]] = (), **extra_fields: Any
    ) -> bytes:
        """Build the response object as `as_dict` does, and encode it as JSON."""
        if self._beginning is None:
            self._beginning = encode_json(self._constant)[:-1] + b","
        return self._beginning + encode_json(self._changing(status, output, extra_fields))[1:]

    def _changing(
        self, status: str, output: Sequence[Mapping[str, Any]], more: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {
            "status": status,
            "completed_at": int(self._now()) if status == "completed" else None,
            "error": None,
            "incomplete_details": None,
            "output": list(output),
            "usage": None,
            **more,
        }


def status_from_finish_reason(reason: FinishReason) -> tuple[str, dict[str, Any]]:
    """Translate a finish reason into the response's ``status``, and a dict with its ``incomplete_details``, if any."""
    why = _INCOMPLETE.get(reason)
    return ("completed", {}) if why is None else ("incomplete", {"incomplete_details": {"reason": why}})


def to_responses_usage(usage: TokenUsage) -> dict[str, Any]:
    """Translate token usage into the ``usage`` object of the Responses API."""
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total,
    }


# Items ---------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class ReasoningItem:
    """An output item with the model's reasoning: its summary, and the encrypted content that the client sends back."""

    id: str
    index: int
    pieces: list[str] = field(default_factory=list)
    kept: str | None = None

    @property
    def text(self) -> str:
        """The reasoning summary as received so far."""
        return "".join(self.pieces)

    def as_dict(self, *, status: ItemStatus) -> dict[str, Any]:
        """Build the item's JSON object for the response, with its present ``status``."""
        is_told = self.pieces and status != "in_progress"
        return {
            "id": self.id,
            "type": "reasoning",
            "summary": [make_summary_part(self.text)] if is_told else [],
            "encrypted_content": self.kept,
        }


@dataclass(slots=True)
class MessageItem:
    """An output item with a message of the model, which has one content part: a text or a refusal."""

    id: str
    index: int
    is_refusal: bool = False
    pieces: list[str] = field(default_factory=list)
    logprobs: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text or refusal as received so far."""
        return "".join(self.pieces)

    def content_part(self, *, is_empty: bool = False) -> dict[str, Any]:
        """Build the JSON object of the message's only content part; without text if ``is_empty``."""
        text = "" if is_empty else self.text
        if self.is_refusal:
            return {"type": "refusal", "refusal": text}
        return {
            "type": "output_text",
            "text": text,
            "annotations": [],
            "logprobs": [] if is_empty else self.logprobs,
        }

    def as_dict(self, *, status: ItemStatus) -> dict[str, Any]:
        """Build the item's JSON object for the response, with its present ``status``."""
        return {
            "id": self.id,
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": [] if status == "in_progress" else [self.content_part()],
        }


@dataclass(slots=True)
class ToolCallItem:
    """An output item with the call of a function or of a custom tool."""

    id: str
    index: int
    call_id: str
    tool: ClientTool
    pieces: list[str] = field(default_factory=list)

    @property
    def arguments(self) -> str:
        """The arguments as received so far: JSON for a function, plain text for a custom tool."""
        whole = "".join(self.pieces)
        return unwrap_custom_input(whole) if self.tool.is_custom else whole or "{}"

    def as_dict(self, *, status: ItemStatus) -> dict[str, Any]:
        """Build the item's JSON object for the response, with its present ``status``."""
        tool, is_new = self.tool, status == "in_progress"
        found = {
            "id": self.id,
            "type": "custom_tool_call" if tool.is_custom else "function_call",
            "status": status,
            "call_id": self.call_id,
            "name": tool.name,
            "input" if tool.is_custom else "arguments": "" if is_new else self.arguments,
        }
        return {**found, "namespace": tool.namespace} if tool.namespace else found


Item = ReasoningItem | MessageItem | ToolCallItem


def find_final_item_status(item: Item, items: Sequence[Item], status: ItemStatus) -> ItemStatus:
    """Find the status of one output item when the response ends with ``status``.

    The last item has the same status. All other items are ``completed``.
    """
    return status if item.index == len(items) - 1 else "completed"


def serialize_output_items(items: Sequence[Item], status: ItemStatus) -> list[dict[str, Any]]:
    """Build the ``output`` list, as JSON objects, of a response that has ended with ``status``."""
    return [item.as_dict(status=find_final_item_status(item, items, status)) for item in items]


def to_output_items(choice: Choice, request: ResponsesRequest) -> list[Item]:
    """Translate a complete choice into the output items of the response: reasoning, message and tool calls."""
    items: list[Item] = []

    def place(kind: str) -> tuple[str, int]:
        return f"{kind}_{request.request.id}_{len(items)}", len(items)

    kept = make_encrypted_content(choice.reasoning_items, choice.receipt, request) if choice.calls else None
    if choice.reasoning or kept:
        items.append(ReasoningItem(*place("rs"), [choice.reasoning] if choice.reasoning else [], kept))
    if choice.text:
        items.append(MessageItem(*place("msg"), pieces=[choice.text], logprobs=list(choice.logprobs)))
    if choice.refusal:
        items.append(MessageItem(*place("msg"), is_refusal=True, pieces=[choice.refusal]))
    for call in choice.calls:
        tool = request.tools.find_client_tool(call.name)
        items.append(ToolCallItem(*place("ctc" if tool.is_custom else "fc"), call.id, tool, [call.arguments]))
    return items


def make_encrypted_content(
    items: Sequence[Mapping[str, Any]], receipt: Mapping[str, Any], request: ResponsesRequest
) -> str | None:
    """Encode a provider's reasoning items as the ``encrypted_content`` of a reasoning item.

    None if there are no items, or if the client does not send reasoning back.
    """
    return encode_reasoning_items(items, receipt) if items and request.keeps_thoughts else None


def make_summary_part(text: str) -> dict[str, Any]:
    """Build the JSON of one part of a reasoning summary."""
    return {"type": "summary_text", "text": text}
