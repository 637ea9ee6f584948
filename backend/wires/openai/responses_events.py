"""Writes the event stream of the Responses API: each item is added, filled and finished within the response."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

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
from ..sse import encode_json_event, encode_raw_json_event
from .errors import to_openai_error
from .responses_answer import (
    Item,
    MessageItem,
    ReasoningItem,
    ResponseObject,
    ToolCallItem,
    find_final_item_status,
    make_encrypted_content,
    make_summary_part,
    serialize_output_items,
    status_from_finish_reason,
    to_responses_usage,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..answer import Event
    from .responses_answer import ItemStatus
    from .responses_request import ResponsesRequest

DONE: Final = b"data: [DONE]\n\n"
_CODES_OF_FAILURES: Final = frozenset(
    {"rate_limit_exceeded", "context_length_exceeded", "insufficient_quota"}
)


class ResponsesEventWriter:
    """Encodes the events of one streamed answer as server-sent events of the Responses API.

    Args:
        request: The request that is answered.
        includes_receipt: Whether the response object at the end includes the receipt.
        clock: Returns the present time, in seconds since 1970.
    """

    def __init__(
        self,
        request: ResponsesRequest,
        *,
        includes_receipt: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._asked = request
        self._includes_receipt = includes_receipt
        self._resource = ResponseObject(request, clock)
        self._number = 0
        self._items: list[Item] = []
        self._open: MessageItem | ReasoningItem | None = None
        self._calls: dict[int, ToolCallItem] = {}
        self._thoughts: list[ReasoningItem] = []
        self._kept: Sequence[Mapping[str, Any]] = ()
        self._chunks: list[bytes] = []
        self._writers: dict[type[Event], Callable[[Any], None]] = {
            ChoiceStarted: self._start,
            TextDelta: self._text,
            ToolCallDelta: self._call,
            ReasoningDelta: self._thought,
            RefusalDelta: self._refusal,
            ReasoningItems: self._keep,
            ChoiceFinished: self._finish,
            StreamFailed: self._fail,
        }

    def encode(self, event: Event) -> bytes:
        """Encode ``event`` as server-sent events of the Responses API. Returns empty bytes if that API has no such event."""
        if (write := self._writers.get(type(event))) is not None:
            write(event)
        encoded = b"".join(self._chunks)
        self._chunks.clear()
        return encoded

    def _start(self, _: ChoiceStarted) -> None:
        for name in ("response.created", "response.in_progress"):
            self._say_response(name, self._resource.to_json_bytes("in_progress"))

    # Items -----------------------------------------------------------------------------------------------------------

    def _text(self, event: TextDelta) -> None:
        item = self._message(is_refusal=False)
        item.pieces.append(event.text)
        item.logprobs += event.logprobs
        self._say(
            "response.output_text.delta",
            item_id=item.id,
            output_index=item.index,
            content_index=0,
            delta=event.text,
            logprobs=event.logprobs,
        )

    def _refusal(self, event: RefusalDelta) -> None:
        item, text = self._message(is_refusal=True), event.text
        item.pieces.append(text)
        self._say(
            "response.refusal.delta", item_id=item.id, output_index=item.index, content_index=0, delta=text
        )

    def _message(self, *, is_refusal: bool) -> MessageItem:
        """The message that is open, or a new one."""
        if isinstance(self._open, MessageItem) and self._open.is_refusal == is_refusal:
            return self._open
        self._close_open()
        item = self._open = MessageItem(self._new_id("msg"), len(self._items), is_refusal)
        self._add(item)
        part = item.content_part(is_empty=True)
        self._say(
            "response.content_part.added",
            item_id=item.id,
            output_index=item.index,
            content_index=0,
            part=part,
        )
        return item

    def _thought(self, event: ReasoningDelta) -> None:
        item = self._open
        if not isinstance(item, ReasoningItem):
            self._close_open()
            item = self._open = ReasoningItem(self._new_id("rs"), len(self._items))
            self._add(item)
            self._say_summary("part.added", item, part=make_summary_part(""))
        item.pieces.append(event.text)
        self._say_summary("text.delta", item, delta=event.text)

    def _keep(self, event: ReasoningItems) -> None:
        self._kept = event.items

    def _call(self, event: ToolCallDelta) -> None:
        item = self._calls.get(event.place)
        if item is None:
            self._close_open()
            item = self._begun_call(event)
        if not event.arguments:
            return
        item.pieces.append(event.arguments)
        if not item.tool.is_custom:  # whose text is within JSON that is not complete yet
            self._say(
                "response.function_call_arguments.delta",
                item_id=item.id,
                output_index=item.index,
                delta=event.arguments,
            )

    def _begun_call(self, event: ToolCallDelta) -> ToolCallItem:
        tool = self._asked.tools.find_client_tool(event.name or "")
        item = ToolCallItem(
            self._new_id("ctc" if tool.is_custom else "fc"),
            len(self._items),
            event.id or self._new_id("call"),
            tool,
        )
        self._calls[event.place] = item
        self._add(item)
        return item

    def _add(self, item: Item) -> None:
        self._items.append(item)
        self._say(
            "response.output_item.added", output_index=item.index, item=item.as_dict(status="in_progress")
        )

    def _new_id(self, kind: str) -> str:
        return f"{kind}_{self._asked.request.id}_{len(self._items)}"

    # Ends ------------------------------------------------------------------------------------------------------------

    def _close_open(self, status: ItemStatus = "completed") -> None:
        item, self._open = self._open, None
        if isinstance(item, ReasoningItem):
            self._say_summary("text.done", item, text=item.text)
            self._say_summary("part.done", item, part=make_summary_part(item.text))
            if self._asked.keeps_thoughts:  # what the provider wants back of them comes last
                self._thoughts.append(item)
            else:
                self._done(item, status)
        elif item is not None:
            self._close_message(item)
            self._done(item, status)

    def _close_message(self, item: MessageItem) -> None:
        place: dict[str, Any] = {"item_id": item.id, "output_index": item.index, "content_index": 0}
        if item.is_refusal:
            self._say("response.refusal.done", **place, refusal=item.text)
        else:
            self._say("response.output_text.done", **place, text=item.text, logprobs=item.logprobs)
        self._say("response.content_part.done", **place, part=item.content_part())

    def _close_call(self, item: ToolCallItem, status: ItemStatus) -> None:
        place: dict[str, Any] = {"item_id": item.id, "output_index": item.index}
        if item.tool.is_custom:
            self._say("response.custom_tool_call_input.delta", **place, delta=item.arguments)
            self._say("response.custom_tool_call_input.done", **place, input=item.arguments)
        else:
            self._say(
                "response.function_call_arguments.done",
                **place,
                name=item.tool.name,
                arguments=item.arguments,
            )
        self._done(item, status)

    def _close_thoughts(self, event: ChoiceFinished) -> None:
        kept = make_encrypted_content(self._kept, event.receipt, self._asked) if self._calls else None
        if kept and not self._thoughts:
            item = ReasoningItem(self._new_id("rs"), len(self._items))
            self._thoughts.append(item)
            self._add(item)
        for item in self._thoughts:
            item.kept = kept if item is self._thoughts[-1] else None
            self._done(item, "completed")

    def _done(self, item: Item, status: ItemStatus) -> None:
        self._say("response.output_item.done", output_index=item.index, item=item.as_dict(status=status))

    def _finish(self, event: ChoiceFinished) -> None:
        status, more = status_from_finish_reason(event.reason)
        item_status: ItemStatus = "completed" if status == "completed" else "incomplete"
        self._close_open(item_status)
        self._close_thoughts(event)
        for item in self._calls.values():
            self._close_call(item, find_final_item_status(item, self._items, item_status))
        if self._includes_receipt:
            more["patchbay"] = {"receipts": [event.receipt]}
        output = serialize_output_items(self._items, item_status)
        whole = self._resource.to_json_bytes(status, output, usage=to_responses_usage(event.usage), **more)
        self._say_response(f"response.{status}", whole)
        self._chunks.append(DONE)

    def _fail(self, event: StreamFailed) -> None:
        payload = to_openai_error(event.fault)[1]
        code = payload["code"] if payload["code"] in _CODES_OF_FAILURES else "server_error"
        error = {"code": code, "message": payload["message"]}
        self._say_response(
            "response.failed",
            self._resource.to_json_bytes(
                "failed", serialize_output_items(self._items, "incomplete"), error=error
            ),
        )
        self._chunks.append(DONE)

    # Words -----------------------------------------------------------------------------------------------------------

    def _say(self, name: str, /, **fields: Any) -> None:
        head = {"type": name, "sequence_number": self._number}
        self._number += 1
        self._chunks.append(encode_json_event(head | fields, name))

    def _say_summary(self, what: str, item: ReasoningItem, /, **fields: Any) -> None:
        name = f"response.reasoning_summary_{what}"
        self._say(name, item_id=item.id, output_index=item.index, summary_index=0, **fields)

    def _say_response(self, name: str, response: bytes) -> None:
        head = f'{{"type":"{name}","sequence_number":{self._number},"response":'.encode()
        self._number += 1
        self._chunks.append(encode_raw_json_event(head + response + b"}", name))
