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

    from backend.utils.llm.receipt import Usage

    from ..answer import Choice, FinishReason
    from .responses_request import ResponsesRequest
    from .responses_tools import ClientTool

ItemStatus = Literal["in_progress", "completed", "incomplete"]

_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponseObject:
    """Builds the ``response`` object of the Responses API for one request.

    Many events of its stream repeat the object with a new status.
    """

    def __init__(self, asked: ResponsesRequest, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self.id = f"resp_{asked.request.id}"
        self._constant = {
            "id": self.id,
            "object": "response",
            "created_at": asked.request.created,
            **asked.echo,
        }
        self._beginning: bytes | None = None

    def as_dict(self, status: str, output: Sequence[Mapping[str, Any]] = (), **more: Any) -> dict[str, Any]:
        """Build the response object as a dict.

        Args:
            status: The status of the response, such as ``in_progress``.
            output: The output items so far.
            more: Further fields of the object, such as ``usage``.
        """
        return {**self._constant, **self._changing(status, output, more)}

    def to_json_bytes(self, status: str, output: Sequence[Mapping[str, Any]] = (), **more: Any) -> bytes:
        """Build the same object as `as_dict`, encoded as JSON."""
        if self._beginning is None:
            self._beginning = encode_json(self._constant)[:-1] + b","
        return self._beginning + encode_json(self._changing(status, output, more))[1:]

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


def to_status_and_details(reason: FinishReason) -> tuple[str, dict[str, Any]]:
    """Translate a finish reason into the response's ``status``, and the ``incomplete_details`` if it is incomplete."""
    why = _INCOMPLETE.get(reason)
    return ("completed", {}) if why is None else ("incomplete", {"incomplete_details": {"reason": why}})


def to_responses_usage(usage: Usage) -> dict[str, Any]:
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
        """The item as a dict for the response's JSON, with the item's present ``status``."""
        is_told = self.pieces and status != "in_progress"
        return {
            "id": self.id,
            "type": "reasoning",
            "summary": [summary_part(self.text)] if is_told else [],
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
        """The only content part of the message, as a dict for the response's JSON.

        With ``is_empty``, the part has no text yet.
        """
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
        """The item as a dict for the response's JSON, with the item's present ``status``."""
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
        """The item as a dict for the response's JSON, with the item's present ``status``."""
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


def final_item_status(item: Item, items: Sequence[Item], status: ItemStatus) -> ItemStatus:
    """Get the status of one output item when the response ends.

    Only the last item can be incomplete: it has the ``status`` of the response, all others are
    ``completed``.
    """
    return status if item.index == len(items) - 1 else "completed"


def to_output_list(items: Sequence[Item], status: ItemStatus) -> list[dict[str, Any]]:
    """Build the ``output`` list of a response that has ended with ``status``."""
    return [item.as_dict(status=final_item_status(item, items, status)) for item in items]


def to_output_items(choice: Choice, asked: ResponsesRequest) -> list[Item]:
    """Translate a complete choice into the output items of the response: reasoning, message and tool calls."""
    items: list[Item] = []

    def place(kind: str) -> tuple[str, int]:
        return f"{kind}_{asked.request.id}_{len(items)}", len(items)

    kept = make_encrypted_content(choice.reasoning_items, choice.receipt, asked) if choice.calls else None
    if choice.reasoning or kept:
        items.append(ReasoningItem(*place("rs"), [choice.reasoning] if choice.reasoning else [], kept))
    if choice.text:
        items.append(MessageItem(*place("msg"), pieces=[choice.text], logprobs=list(choice.logprobs)))
    if choice.refusal:
        items.append(MessageItem(*place("msg"), is_refusal=True, pieces=[choice.refusal]))
    for call in choice.calls:
        tool = asked.tools.find_client_tool(call.name)
        items.append(ToolCallItem(*place("ctc" if tool.is_custom else "fc"), call.id, tool, [call.arguments]))
    return items


def make_encrypted_content(
    items: Sequence[Mapping[str, Any]], receipt: Mapping[str, Any], asked: ResponsesRequest
) -> str | None:
    """Pack a provider's reasoning items into the ``encrypted_content`` of a reasoning item.

    None if there are no items, or if the client does not send reasoning back.
    """
    return encode_reasoning_items(items, receipt) if items and asked.keeps_thoughts else None


def summary_part(text: str) -> dict[str, Any]:
    """Build the JSON of one part of a reasoning summary."""
    return {"type": "summary_text", "text": text}
