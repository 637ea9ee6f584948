"""Answers of the Messages API: golden sequences of events, each one as Anthropic's SDK reads it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from langchain_core.messages import HumanMessage
from pydantic import TypeAdapter

from backend.utils.llm.receipt import TokenUsage
from backend.wires.answer import (
    Answer,
    Choice,
    ChoiceFinished,
    ChoiceStarted,
    ReasoningDelta,
    ReasoningItems,
    RefusalDelta,
    StreamFailed,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)
from backend.wires.anthropic.messages_answer import MessagesEventWriter, make_messages_response_body
from backend.wires.anthropic.messages_request import MessagesRequest
from backend.wires.faults import RequestFault
from backend.wires.request import CompletionRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.wires.answer import Event, FinishReason

SDK: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
USAGE = TokenUsage(input=30, output=7, cached=10, cache_write=5, reasoning=2)
USED = {
    "input_tokens": 15,
    "cache_creation_input_tokens": 5,
    "cache_read_input_tokens": 10,
    "output_tokens": 7,
    "output_tokens_details": {"thinking_tokens": 2},
}
RECEIPT = {"endpoint": "anthropic:claude-sonnet-5-5", "id": "r1"}
ITEMS = [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}]


def asked(*, thinks: bool = False) -> MessagesRequest:
    completion = CompletionRequest(model="chat", messages=[HumanMessage("Hello?")], ids=["0-1-2"])
    return MessagesRequest(completion, keeps_thoughts=thinks, tells_thoughts=thinks)


def end(reason: FinishReason) -> ChoiceFinished:
    return ChoiceFinished(reason, USAGE, RECEIPT)


def written(events: Sequence[Event], *, thinks: bool = False) -> list[dict[str, Any]]:
    """The events as a client reads them. Pings and errors are no message's, to the SDK."""
    writer = MessagesEventWriter(asked(thinks=thinks), prompt_tokens=12)
    sent = b"".join(writer.encode(event) for event in events).decode()
    found = []
    for part in sent.removesuffix("\n\n").split("\n\n"):
        name, data = part.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        if event["type"] not in {"ping", "error"}:
            SDK.validate_python(event)
        found.append(event)
    return found


def shorthand(events: list[dict[str, Any]]) -> list[Any]:
    """What a sequence of events says, in few words."""
    found: list[Any] = []
    for event in events:
        match event["type"]:
            case "content_block_start":
                block = event["content_block"]
                found.append((event["index"], block["type"], block.get("name") or block.get("id")))
            case "content_block_delta":
                found.append((event["index"], next(v for k, v in event["delta"].items() if k != "type")))
            case "content_block_stop":
                found.append((event["index"], "stop"))
            case "message_delta":
                found.append(event["delta"]["stop_reason"])
            case kind:
                found.append(kind)
    return found


def test_a_text_is_one_block_between_the_beginning_and_the_end() -> None:
    events = written([ChoiceStarted(), TextDelta("Hel"), TextDelta("lo."), end("stop")])

    assert events == [
        {
            "type": "message_start",
            "message": {
                "id": "msg_0-1-2",
                "type": "message",
                "role": "assistant",
                "model": "chat",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "stop_details": None,
                "usage": {
                    "input_tokens": 12,
                    "cache_creation_input_tokens": 0,
                    "cache_read_input_tokens": 0,
                    "output_tokens": 0,
                },
            },
        },
        {"type": "ping"},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo."}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None, "stop_details": None},
            "usage": USED,
        },
        {"type": "message_stop"},
    ]


def test_an_answer_without_content_has_no_block() -> None:
    assert shorthand(written([ChoiceStarted(), end("length")])) == [
        *("message_start", "ping"),
        *("max_tokens", "message_stop"),
    ]


def test_text_then_parallel_calls_are_blocks_one_after_the_other() -> None:
    events: list[Event] = [
        *(ChoiceStarted(), TextDelta("I look.")),
        ToolCallDelta(0, "call_a", "look_up", '{"word":'),
        ToolCallDelta(0, None, None, ' "a"}'),
        ToolCallDelta(1, "call_b", "look_up", '{"word": "b"}'),
        end("tool_calls"),
    ]

    assert shorthand(written(events)) == [
        *("message_start", "ping"),
        *((0, "text", None), (0, "I look."), (0, "stop")),
        *((1, "tool_use", "look_up"), (1, '{"word":'), (1, ' "a"}'), (1, "stop")),
        *((2, "tool_use", "look_up"), (2, '{"word": "b"}'), (2, "stop")),
        *("tool_use", "message_stop"),
    ]


def test_calls_whose_pieces_come_mixed_are_still_one_block_after_the_other() -> None:
    events: list[Event] = [
        ChoiceStarted(),
        ToolCallDelta(0, "call_a", "first", '{"a":'),
        ToolCallDelta(1, "call_b", "second", '{"b":'),
        TextDelta("By the way."),
        ToolCallDelta(0, None, None, " 1}"),
        ToolCallDelta(1, None, None, " 2}"),
        end("tool_calls"),
    ]

    assert shorthand(written(events)) == [
        *("message_start", "ping"),
        *((0, "tool_use", "first"), (0, '{"a":'), (0, " 1}"), (0, "stop")),
        *((1, "tool_use", "second"), (1, '{"b":'), (1, " 2}"), (1, "stop")),
        *((2, "text", None), (2, "By the way."), (2, "stop")),
        *("tool_use", "message_stop"),
    ]


def test_an_empty_object_that_is_told_at_the_end_goes_to_its_own_call() -> None:
    events: list[Event] = [
        ChoiceStarted(),
        ToolCallDelta(0, "call_a", "first", ""),
        ToolCallDelta(1, "call_b", "second", '{"b": 2}'),
        ToolCallDelta(0, None, None, "{}"),
        end("tool_calls"),
    ]

    assert shorthand(written(events))[2:-2] == [
        *((0, "tool_use", "first"), (0, "{}"), (0, "stop")),
        *((1, "tool_use", "second"), (1, '{"b": 2}'), (1, "stop")),
    ]


def test_a_call_to_which_the_provider_gives_no_id_has_one() -> None:
    events = written([ChoiceStarted(), ToolCallDelta(0, None, "look_up", "{}"), end("tool_calls")])

    assert events[2]["content_block"]["id"].startswith("toolu_")


def test_thoughts_are_told_first_and_what_their_provider_wants_back_comes_last() -> None:
    events: list[Event] = [
        *(ChoiceStarted(), ReasoningDelta("Hm."), ToolCallDelta(0, "call_a", "look_up", "{}")),
        ReasoningItems(ITEMS),
        end("tool_calls"),
    ]

    assert shorthand(written(events, thinks=True))[2:-2] == [
        *((0, "thinking", None), (0, "Hm."), (0, "stop")),
        *((1, "tool_use", "look_up"), (1, "{}"), (1, "stop")),
        *((2, "redacted_thinking", None), (2, "stop")),
    ]


def test_a_client_that_does_not_ask_for_thoughts_gets_none() -> None:
    events: list[Event] = [
        ChoiceStarted(),
        ReasoningDelta("Hm."),
        TextDelta("Yes."),
        ReasoningItems(ITEMS),
        end("stop"),
    ]

    assert shorthand(written(events))[2:-2] == [(0, "text", None), (0, "Yes."), (0, "stop")]


def test_the_last_block_of_an_answer_without_calls_is_what_was_said() -> None:
    events: list[Event] = [
        ChoiceStarted(),
        ReasoningDelta("Hm."),
        TextDelta("Yes."),
        ReasoningItems(ITEMS),
        end("stop"),
    ]

    assert shorthand(written(events, thinks=True))[-5:-2] == [(1, "text", None), (1, "Yes."), (1, "stop")]


def test_a_refusal_is_text_and_the_reason_to_stop() -> None:
    said = shorthand(written([ChoiceStarted(), RefusalDelta("I will not."), end("stop")]))

    assert said[2:] == [(0, "text", None), (0, "I will not."), (0, "stop"), "refusal", "message_stop"]


def test_a_stream_that_breaks_ends_with_an_error() -> None:
    fault = RequestFault(502, "stream_interrupted", "The stream broke off.", call_id="c")

    events = written([ChoiceStarted(), TextDelta("Hel"), StreamFailed(fault)])

    assert events[-1]["error"] == {"type": "api_error", "message": "The stream broke off."}


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_calls", "tool_use"),
        ("content_filter", "refusal"),
    ],
)
def test_a_whole_answer_is_a_message_with_its_usage(reason: FinishReason, told: str) -> None:
    choice = Choice("Hello.", finish_reason=reason, usage=USAGE, receipt=RECEIPT)

    document = make_messages_response_body(asked(), Answer([choice]), includes_receipt=False)

    message = Message.model_validate(document, strict=True)
    assert (message.stop_reason, message.model, message.id) == (told, "chat", "msg_0-1-2")
    assert document["content"] == [{"type": "text", "text": "Hello."}]
    assert document["usage"] == USED
    assert "patchbay" not in document


def test_a_whole_answer_holds_calls_and_the_thoughts_that_go_back() -> None:
    calls = [ToolCall("a", "look_up", '{"word": "x"}'), ToolCall("b", "look_up", "not JSON")]
    choice = Choice(
        reasoning="Hm.", reasoning_items=ITEMS, calls=calls, finish_reason="tool_calls", receipt=RECEIPT
    )

    document = make_messages_response_body(asked(thinks=True), Answer([choice]), includes_receipt=True)

    kinds = [block["type"] for block in document["content"]]
    assert kinds == ["thinking", "tool_use", "tool_use", "redacted_thinking"]
    assert [block["input"] for block in document["content"][1:3]] == [
        {"word": "x"},
        {"INVALID_JSON": "not JSON"},
    ]
    assert document["patchbay"] == {"receipts": [RECEIPT]}


@pytest.mark.parametrize(
    ("reason", "sequence", "told"),
    [
        ("stop", "END", {"stop_reason": "stop_sequence", "stop_sequence": "END"}),
        ("stop", None, {"stop_reason": "end_turn", "stop_sequence": None}),
        ("length", "END", {"stop_reason": "max_tokens", "stop_sequence": None}),
    ],
    ids=["told", "not told", "another end"],
)
def test_a_stop_sequence_that_ended_the_answer_is_told_whole_and_streamed(
    reason: FinishReason, sequence: str | None, told: dict[str, Any]
) -> None:
    choice = Choice(text="One.", finish_reason=reason, stop_sequence=sequence)
    document = make_messages_response_body(asked(), Answer([choice]), includes_receipt=False)
    *_, delta, _ = written(
        [ChoiceStarted(), TextDelta("One."), ChoiceFinished(reason, USAGE, RECEIPT, stop_sequence=sequence)]
    )

    assert {name: document[name] for name in told} == told
    assert {name: delta["delta"][name] for name in told} == told
