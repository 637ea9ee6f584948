"""The response object of the Responses API, and its output items."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from ..sse import json_bytes
from ..thoughts import packed
from .custom_tools import custom_input

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from backend.utils.llm.receipt import Usage

    from ..answer import Choice, FinishReason
    from .responses_request import ResponsesRequest
    from .responses_tools import Tool

ItemStatus = Literal["in_progress", "completed", "incomplete"]

_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}


class Resource:
    """The ``response`` object of one request, which most events of its stream repeat with a new status."""

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

    def document(self, status: str, output: Sequence[Mapping[str, Any]] = (), **more: Any) -> dict[str, Any]:
        """The response object as a dict.

        Args:
            status: Its present status.
            output: The output items so far.
            more: Further fields, such as ``usage``.
        """
        return {**self._constant, **self._changing(status, output, more)}

    def json(self, status: str, output: Sequence[Mapping[str, Any]] = (), **more: Any) -> bytes:
        """Like `document`, as JSON bytes."""
        if self._beginning is None:
            self._beginning = json_bytes(self._constant)[:-1] + b","
        return self._beginning + json_bytes(self._changing(status, output, more))[1:]

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


def ending_fields(reason: FinishReason) -> tuple[str, dict[str, Any]]:
    """The ``status`` of a response that ended for ``reason``, and the fields that tell why it is incomplete."""
    why = _INCOMPLETE.get(reason)
    return ("completed", {}) if why is None else ("incomplete", {"incomplete_details": {"reason": why}})


def responses_usage(usage: Usage) -> dict[str, Any]:
    """Token usage as the ``usage`` object of the Responses API."""
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
    """The model's reasoning: its summary, and the provider's items to be sent back."""

    id: str
    index: int
    pieces: list[str] = field(default_factory=list)
    kept: str | None = None

    @property
    def text(self) -> str:
        """The summary that has arrived so far."""
        return "".join(self.pieces)

    def as_dict(self, *, status: ItemStatus) -> dict[str, Any]:
        """The output item as a dict for the JSON of the response."""
        is_told = self.pieces and status != "in_progress"
        return {
            "id": self.id,
            "type": "reasoning",
            "summary": [summary_part(self.text)] if is_told else [],
            "encrypted_content": self.kept,
        }


@dataclass(slots=True)
class MessageItem:
    """A message of the model with one part: a text or a refusal."""

    id: str
    index: int
    is_refusal: bool = False
    pieces: list[str] = field(default_factory=list)
    logprobs: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text or refusal that has arrived so far."""
        return "".join(self.pieces)

    def part(self, *, is_empty: bool = False) -> dict[str, Any]:
        """The item's only content part, as a dict for the JSON of the response. With ``is_empty``, without its text."""
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
        """The output item as a dict for the JSON of the response."""
        return {
            "id": self.id,
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": [] if status == "in_progress" else [self.part()],
        }


@dataclass(slots=True)
class CallItem:
    """An output item: a call of a function or of a custom tool."""

    id: str
    index: int
    call_id: str
    tool: Tool
    pieces: list[str] = field(default_factory=list)

    @property
    def arguments(self) -> str:
        """The arguments so far, as JSON; for a custom tool, its input."""
        whole = "".join(self.pieces)
        return custom_input(whole) if self.tool.is_custom else whole or "{}"

    def as_dict(self, *, status: ItemStatus) -> dict[str, Any]:
        """The output item as a dict for the JSON of the response."""
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


Item = ReasoningItem | MessageItem | CallItem


def status_of_item(item: Item, items: Sequence[Item], status: ItemStatus) -> ItemStatus:
    """The status of one output item when the response ends: ``status`` for the last of ``items``, ``completed`` for all others."""
    return status if item.index == len(items) - 1 else "completed"


def output_of(items: Sequence[Item], status: ItemStatus) -> list[dict[str, Any]]:
    """The ``output`` list of a response that has ended with ``status``."""
    return [item.as_dict(status=status_of_item(item, items, status)) for item in items]


def items_of(choice: Choice, asked: ResponsesRequest) -> list[Item]:
    """The output items of a complete answer: reasoning, message and calls."""
    items: list[Item] = []

    def place(kind: str) -> tuple[str, int]:
        return f"{kind}_{asked.request.id}_{len(items)}", len(items)

    kept = kept_thoughts(choice.reasoning_items, choice.receipt, asked) if choice.calls else None
    if choice.reasoning or kept:
        items.append(ReasoningItem(*place("rs"), [choice.reasoning] if choice.reasoning else [], kept))
    if choice.text:
        items.append(MessageItem(*place("msg"), pieces=[choice.text], logprobs=list(choice.logprobs)))
    if choice.refusal:
        items.append(MessageItem(*place("msg"), is_refusal=True, pieces=[choice.refusal]))
    for call in choice.calls:
        tool = asked.tools.tool(call.name)
        items.append(CallItem(*place("ctc" if tool.is_custom else "fc"), call.id, tool, [call.arguments]))
    return items


def kept_thoughts(
    items: Sequence[Mapping[str, Any]], receipt: Mapping[str, Any], asked: ResponsesRequest
) -> str | None:
    """The provider's reasoning items, packed for ``encrypted_content``; None if there are none, or the client keeps none."""
    return packed(items, receipt) if items and asked.keeps_thoughts else None


def summary_part(text: str) -> dict[str, Any]:
    """The JSON of a part of a reasoning item's summary."""
    return {"type": "summary_text", "text": text}
