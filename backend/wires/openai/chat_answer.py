"""Writes answers in the form of Chat Completions, whole or as a stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ..answer import (
    ChoiceFinished,
    ChoiceStarted,
    ReasoningDelta,
    RefusalDelta,
    StreamFailed,
    TextDelta,
    ToolCallDelta,
    sum_usage,
)
from ..sse import encode_json_event
from .custom_tools import unwrap_custom_input
from .errors import to_openai_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backend.utils.llm.receipt import TokenUsage

    from ..answer import Answer, Choice, Event, ToolCall
    from ..request import CompletionRequest

DONE: Final = b"data: [DONE]\n\n"


def make_chat_response_body(
    request: CompletionRequest, answer: Answer, *, includes_receipt: bool
) -> dict[str, Any]:
    """Build the JSON body of a complete answer in the form of Chat Completions.

    With ``includes_receipt``, the body also has the receipts of all choices.
    """
    document = {
        **_head(request, "chat.completion"),
        "choices": [_choice(number, choice, request) for number, choice in enumerate(answer.choices)],
        "usage": to_chat_usage(answer.usage),
    }
    if includes_receipt:
        document["patchbay"] = {"receipts": [choice.receipt for choice in answer.choices]}
    return document


def _head(request: CompletionRequest, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{request.id}",
        "object": kind,
        "created": request.created,
        "model": request.model,
    }


def _choice(number: int, choice: Choice, request: CompletionRequest) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": choice.text or (None if choice.calls or choice.refusal else ""),
        "refusal": choice.refusal or None,
        "annotations": [],
    }
    if choice.reasoning:
        message["reasoning_content"] = choice.reasoning
    if choice.calls:
        message["tool_calls"] = [make_tool_call_object(call, request) for call in choice.calls]
    return {
        "index": number,
        "message": message,
        "logprobs": _logprobs(choice.logprobs),
        "finish_reason": choice.finish_reason,
    }


def make_tool_call_object(call: ToolCall, request: CompletionRequest) -> dict[str, Any]:
    """Build the JSON of a tool call in an answer.

    The call is of type ``custom`` if ``request`` defines a custom tool of this name, else of type
    ``function``.
    """
    if call.name in request.text_tools:
        custom = {"name": call.name, "input": unwrap_custom_input(call.arguments)}
        return {"id": call.id, "type": "custom", "custom": custom}
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _logprobs(tokens: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    return {"content": list(tokens), "refusal": None} if tokens else None


def to_chat_usage(usage: TokenUsage) -> dict[str, Any]:
    """Translate token usage into the ``usage`` object of Chat Completions."""
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


@dataclass(slots=True)
class _TextCall:
    """A call of a custom tool, and the pieces of its arguments so far."""

    id: str
    name: str
    pieces: list[str] = field(default_factory=list)

    def as_dict(self, place: int) -> dict[str, Any]:
        """The call as an object of a chunk. ``place`` is its number in the choice."""
        custom = {"name": self.name, "input": unwrap_custom_input("".join(self.pieces))}
        return {"index": place, "id": self.id, "type": "custom", "custom": custom}


class ChatEventWriter:
    """Encodes the events of one streamed answer as chunks of Chat Completions.

    Token usage is always sent: in the last chunk of the last choice, or in a separate chunk after it.

    Args:
        request: The request that is answered.
        separate_usage_chunk: Whether to send usage in a separate chunk. Then the others have ``"usage": null``.
        includes_receipt: Whether the last chunk includes the receipts of all choices.
    """

    def __init__(
        self,
        request: CompletionRequest,
        *,
        separate_usage_chunk: bool = False,
        includes_receipt: bool = False,
    ) -> None:
        self._own_usage_chunk = separate_usage_chunk
        self._includes_receipt = includes_receipt
        self._head = _head(request, "chat.completion.chunk")
        self._waiting = request.choices
        self._text_tools = request.text_tools
        self._text_calls: dict[tuple[int, int], _TextCall] = {}
        self._used: list[TokenUsage] = []
        self._receipts: list[Mapping[str, Any]] = []

    def encode(self, event: Event) -> bytes:
        """Encode ``event`` as chunks of Chat Completions. Returns empty bytes if that API has no chunk for the event."""
        if isinstance(event, TextDelta):
            return self._chunk([_part(event.choice, {"content": event.text}, logprobs=event.logprobs)])
        if isinstance(event, ChoiceFinished):
            return self._finished(event)
        if isinstance(event, StreamFailed):
            return encode_json_event({"error": to_openai_error(event.fault)[1]})
        delta = None if self._is_kept(event) else _delta(event)
        return self._chunk([_part(event.choice, delta)]) if delta is not None else b""

    def _is_kept(self, event: Event) -> bool:
        """Whether ``event`` is of a custom tool's call, whose text is only known when all its JSON is there."""
        if not self._text_tools or not isinstance(event, ToolCallDelta):
            return False
        call = self._text_calls.get((event.choice, event.place))
        if call is None and event.name in self._text_tools:
            call = self._text_calls[event.choice, event.place] = _TextCall(event.id or "", event.name or "")
        if call is not None:
            call.pieces.append(event.arguments)
        return call is not None

    def _kept_of(self, choice: int) -> bytes:
        calls = [(place, call) for (of, place), call in self._text_calls.items() if of == choice]
        return b"".join(
            self._chunk([_part(choice, {"tool_calls": [call.as_dict(place)]})]) for place, call in calls
        )

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        chunk = {**self._head, "choices": choices}
        if self._own_usage_chunk:
            chunk["usage"] = None
        return encode_json_event(chunk | more if more else chunk)

    def _finished(self, event: ChoiceFinished) -> bytes:
        self._waiting -= 1
        self._used.append(event.usage)
        self._receipts.append(event.receipt)
        kept = self._kept_of(event.choice) if self._text_calls else b""
        last = _part(event.choice, {}, reason=event.reason)
        if self._waiting:
            return kept + self._chunk([last])
        end: dict[str, Any] = {"usage": to_chat_usage(sum_usage(self._used))}
        if self._includes_receipt:
            end["patchbay"] = {"receipts": self._receipts}
        if self._own_usage_chunk:
            return kept + self._chunk([last]) + self._chunk([], **end) + DONE
        return kept + self._chunk([last], **end) + DONE


def _delta(event: Event) -> dict[str, Any] | None:
    """The ``delta`` for an event other than text; None if Chat Completions has no form for the event."""
    match event:
        case ChoiceStarted():
            return {"role": "assistant", "content": "", "refusal": None}
        case ToolCallDelta():
            return {"tool_calls": [_piece(event)]}
        case ReasoningDelta():
            return {"reasoning_content": event.text}
        case RefusalDelta():
            return {"refusal": event.text}
        case _:
            return None


def _part(
    choice: int,
    delta: Mapping[str, Any],
    *,
    reason: str | None = None,
    logprobs: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    return {"index": choice, "delta": delta, "logprobs": _logprobs(logprobs), "finish_reason": reason}


def _piece(event: ToolCallDelta) -> dict[str, Any]:
    if event.id is None and event.name is None:
        return {"index": event.place, "function": {"arguments": event.arguments}}
    return {
        "index": event.place,
        "id": event.id,
        "type": "function",
        "function": {"name": event.name, "arguments": event.arguments},
    }
