"""Writes answers in the form of Anthropic's Messages API, whole or as server-sent events.

The events: https://platform.claude.com/docs/en/build-with-claude/streaming. One block is open at a time. The first event
has an estimate of the prompt's tokens, the last event the usage that the provider reported.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from backend.utils.llm.providers.tool_arguments import is_json

from ..answer import (
    ChoiceFinished,
    ChoiceStarted,
    ReasoningDelta,
    ReasoningItems,
    RefusalDelta,
    StreamFailed,
    TextDelta,
    ToolCallDelta,
)
from ..sse import encode_json_event
from .errors import to_anthropic_error
from .thoughts import make_redacted_thinking_block

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from backend.utils.llm.receipt import TokenUsage

    from ..answer import Answer, Choice, Event, FinishReason, ToolCall
    from ..faults import RequestFault
    from .messages_request import MessagesRequest

_REASONS: Final[Mapping[FinishReason, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
PING: Final = encode_json_event({"type": "ping"}, "ping")


def make_messages_response_body(
    request: MessagesRequest, answer: Answer, *, includes_receipt: bool
) -> dict[str, Any]:
    """Build the JSON body of a complete answer in the form of Anthropic's Messages API.

    With ``includes_receipt``, the body also has the receipt of the call.
    """
    choice = answer.choices[0]
    return {
        **_head(request),
        "content": list(_blocks(choice, request)),
        **_end(choice.finish_reason, choice.stop_sequence, is_refused=bool(choice.refusal)),
        "usage": _usage(choice.usage),
        **_receipt(choice.receipt, is_told=includes_receipt),
    }


def _head(request: MessagesRequest) -> dict[str, Any]:
    completion = request.completion
    return {
        "id": f"msg_{completion.id}",
        "type": "message",
        "role": "assistant",
        "model": completion.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
    }


def _end(reason: FinishReason, stop_sequence: str | None, *, is_refused: bool) -> dict[str, Any]:
    """Why the answer ended. Only some providers report a stop sequence; for the others it counts as a normal end."""
    if is_refused:
        return {"stop_reason": "refusal", "stop_sequence": None}
    if reason == "stop" and stop_sequence is not None:
        return {"stop_reason": "stop_sequence", "stop_sequence": stop_sequence}
    return {"stop_reason": _REASONS[reason], "stop_sequence": None}


def _usage(usage: TokenUsage) -> dict[str, Any]:
    """Usage in Anthropic's form: ``input_tokens`` are those neither read from a cache nor written to one."""
    return {
        "input_tokens": max(0, usage.input - usage.cached - usage.cache_write),
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
    }


def _blocks(choice: Choice, request: MessagesRequest) -> Iterator[dict[str, Any]]:
    if choice.reasoning and request.tells_thoughts:
        yield {"type": "thinking", "thinking": choice.reasoning, "signature": ""}
    if text := choice.text or choice.refusal:
        yield {"type": "text", "text": text}
    yield from map(_call, choice.calls)
    if choice.calls and choice.reasoning_items and request.keeps_thoughts:
        yield make_redacted_thinking_block(choice.reasoning_items, choice.receipt)


def _receipt(receipt: Mapping[str, Any], *, is_told: bool) -> dict[str, Any]:
    """The receipt as an extra field, for clients that ask for it."""
    return {"patchbay": {"receipts": [receipt]}} if is_told else {}


def _call(call: ToolCall) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": _arguments(call.arguments)}


def _arguments(text: str) -> dict[str, Any]:
    """The arguments of a call. If they are no object, they are put under a name, as Anthropic advises."""
    try:
        read = json.loads(text or "{}", strict=False)
    except (ValueError, RecursionError):
        read = text
    return read if isinstance(read, dict) else {"INVALID_JSON": read}


# Streams -------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Call:
    """A call of the stream, with the pieces of its arguments that were not written yet."""

    id: str
    name: str = ""
    waiting: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    checked: tuple[int, bool] = (0, False)
    """How many pieces were written when it was looked at last, and whether that was all."""

    @property
    def is_complete(self) -> bool:
        """Whether all arguments have arrived, as far as their JSON shows; False if none have. Checked again after each piece."""
        if self.checked[0] != len(self.written):
            self.checked = (len(self.written), is_json("".join(self.written)))
        return self.checked[1]


class MessagesEventWriter:
    """Encodes the events of one streamed answer as server-sent events of Anthropic's Messages API.

    Args:
        request: The request that is answered.
        prompt_tokens: An estimate of the prompt's tokens, which the first event reports.
        includes_receipt: Whether the end of the stream includes the call's receipt.
    """

    def __init__(
        self, request: MessagesRequest, prompt_tokens: int, *, includes_receipt: bool = False
    ) -> None:
        self._request = request
        self._includes_receipt = includes_receipt
        self._prompt_tokens = prompt_tokens
        self._index = -1
        self._open: str | None = None
        self._calls: list[_Call] = []
        self._written = 0
        """Calls whose block was begun."""
        self._late_text: list[str] = []
        self._items: Sequence[Mapping[str, Any]] = ()
        self._is_refused = False

    def encode(self, event: Event) -> bytes:
        """Encode ``event`` as server-sent events of the Messages API. Returns empty bytes if that API has no such event."""
        return b"".join(self._events_of(event))

    def _events_of(self, event: Event) -> Iterator[bytes]:
        match event:
            case TextDelta(text=text):
                yield from self._text(text) if text else ()
            case ToolCallDelta():
                yield from self._piece_of_call(event)
            case ChoiceStarted():
                yield from self._start()
            case ChoiceFinished():
                yield from self._finish(event)
            case StreamFailed(fault=fault):
                yield encode_error_event(fault)
            case _:
                yield from self._beside(event)

    def _beside(self, event: RefusalDelta | ReasoningDelta | ReasoningItems) -> Iterator[bytes]:
        """The events for output that is neither text nor a tool call."""
        match event:
            case RefusalDelta(text=text):
                self._is_refused = True
                yield from self._text(text)
            case ReasoningDelta(text=text) if self._request.tells_thoughts:
                yield from self._thought(text)
            case ReasoningItems(items=items):
                self._items = items
            case _:
                pass

    def _start(self) -> Iterator[bytes]:
        used = {
            "input_tokens": self._prompt_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 0,
        }
        yield _event("message_start", message={**_head(self._request), "usage": used})
        yield PING

    def _finish(self, event: ChoiceFinished) -> Iterator[bytes]:
        yield from self._calls_that_wait()
        yield from self._close()
        if self._late_text:
            yield from self._text("".join(self._late_text))
            yield from self._close()
        if self._calls and self._items and self._request.keeps_thoughts:
            yield from self._begin(
                "redacted_thinking", make_redacted_thinking_block(self._items, event.receipt)
            )
            yield from self._close()
        end = _end(event.reason, event.stop_sequence, is_refused=self._is_refused)
        delta = {**end, "stop_details": None}
        yield _event("message_delta", delta=delta, usage=_usage(event.usage))
        yield _event("message_stop", **_receipt(event.receipt, is_told=self._includes_receipt))

    # Blocks ------------------------------------------------------------------------------------------------------

    def _text(self, text: str) -> Iterator[bytes]:
        if self._open_call is not None and not self._open_call.is_complete:
            self._late_text.append(text)
            return
        yield from self._begin("text", {"type": "text", "text": ""})
        yield self._delta({"type": "text_delta", "text": text})

    def _thought(self, text: str) -> Iterator[bytes]:
        yield from self._begin("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        yield self._delta({"type": "thinking_delta", "thinking": text})

    def _begin(self, kind: str, block: Mapping[str, Any]) -> Iterator[bytes]:
        """The start of a block of ``kind``, unless one is open."""
        if self._open == kind:
            return
        yield from self._close()
        self._open = kind
        self._index += 1
        yield _event("content_block_start", index=self._index, content_block=block)

    def _delta(self, delta: Mapping[str, Any]) -> bytes:
        return _event("content_block_delta", index=self._index, delta=delta)

    def _close(self) -> Iterator[bytes]:
        if self._open is not None:
            self._open = None
            yield _event("content_block_stop", index=self._index)

    # Calls -------------------------------------------------------------------------------------------------------

    def _piece_of_call(self, piece: ToolCallDelta) -> Iterator[bytes]:
        """The next piece of a call. Pieces of later calls wait until this call is complete."""
        if piece.place == len(self._calls):
            self._calls.append(_Call(piece.id or f"toolu_{self._request.completion.id[-12:]}_{piece.place}"))
        call = self._calls[piece.place]
        call.name += piece.name or ""
        call.waiting += [piece.arguments] if piece.arguments else []
        if call is self._open_call:
            yield from self._arguments(call)
        while self._may_begin_next():
            successor = self._calls[self._written]
            yield from self._begin_call(successor)
            yield from self._arguments(successor)

    @property
    def _open_call(self) -> _Call | None:
        """The call whose block is open. A closed call was complete, so later pieces repeat it."""
        return self._calls[self._written - 1] if self._open == _tool_use(self._written) else None

    def _may_begin_next(self) -> bool:
        """Whether the next call has a name, and the call before it is complete."""
        if self._written == len(self._calls) or not self._calls[self._written].name:
            return False
        return self._open_call is None or self._open_call.is_complete

    def _calls_that_wait(self) -> Iterator[bytes]:
        for call in self._calls[self._written :]:
            yield from self._begin_call(call)
            yield from self._arguments(call)

    def _begin_call(self, call: _Call) -> Iterator[bytes]:
        block = {"type": "tool_use", "id": call.id, "name": call.name or "tool", "input": {}}
        self._written += 1
        yield from self._begin(_tool_use(self._written), block)

    def _arguments(self, call: _Call) -> Iterator[bytes]:
        if call.waiting:
            piece, call.waiting = "".join(call.waiting), []
            call.written.append(piece)
            yield self._delta({"type": "input_json_delta", "partial_json": piece})


def _tool_use(number: int) -> str:
    return f"tool_use {number}"


def encode_error_event(fault: RequestFault) -> bytes:
    """Encode the server-sent event with which a stream ends after an error."""
    return encode_json_event(to_anthropic_error(fault)[1], "error")


def _event(kind: str, **more: Any) -> bytes:
    return encode_json_event({"type": kind, **more}, kind)
