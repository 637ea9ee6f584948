"""Chat Completions: golden sequences of chunks, and whole answers."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, SystemMessage, ToolMessage
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from backend.tests.unit.wires.client_requests import CLIENTS, requests_of
from backend.tests.unit.wires.streams import CREATED, ID, OTHER_ID, asked, written
from backend.utils.llm.receipt import TokenUsage
from backend.wires.answer import (
    Answer,
    Choice,
    ChoiceFinished,
    ChoiceStarted,
    Event,
    ReasoningDelta,
    ReasoningItems,
    RefusalDelta,
    StreamFailed,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)
from backend.wires.faults import InvalidRequestError, RequestFault
from backend.wires.openai.chat import ChatExchange, ChatWire
from backend.wires.openai.chat_answer import ChatEventWriter

USED = TokenUsage(input=5, output=3, cached=2, reasoning=1)
HEAD = {"id": f"chatcmpl-{ID}", "object": "chat.completion.chunk", "created": CREATED, "model": "chat"}
TOLD: Any = {
    "prompt_tokens": 5,
    "completion_tokens": 3,
    "total_tokens": 8,
    "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 1,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}
CLEAR = {"role": "assistant", "content": "", "refusal": None}


def chunk(delta: dict[str, Any], *, reason: str | None = None, choice: int = 0, **more: Any) -> Any:
    part = {"index": choice, "delta": delta, "logprobs": None, "finish_reason": reason}
    return (None, {**HEAD, "choices": [part], **more})


def test_a_text_is_its_pieces_then_the_reason_with_usage() -> None:
    events: list[Event] = [
        ChoiceStarted(),
        TextDelta("Good "),
        TextDelta("day."),
        ChoiceFinished("stop", USED, {"id": ID}),
    ]

    assert written(ChatEventWriter(asked()), events) == [
        chunk(CLEAR),
        chunk({"content": "Good "}),
        chunk({"content": "day."}),
        chunk({}, reason="stop", usage=TOLD),
        (None, "[DONE]"),
    ]


def test_usage_in_a_chunk_of_its_own_is_null_in_all_others() -> None:
    events: list[Event] = [ChoiceStarted(), TextDelta("Day."), ChoiceFinished("stop", USED, {"id": ID})]

    assert written(ChatEventWriter(asked(), separate_usage_chunk=True, includes_receipt=True), events) == [
        chunk(CLEAR, usage=None),
        chunk({"content": "Day."}, usage=None),
        chunk({}, reason="stop", usage=None),
        (None, {**HEAD, "choices": [], "usage": TOLD, "patchbay": {"receipts": [{"id": ID}]}}),
        (None, "[DONE]"),
    ]


def test_calls_begin_with_their_names_and_go_on_without() -> None:
    events: list[Event] = [
        ChoiceStarted(),
        ReasoningDelta("Hm."),
        ToolCallDelta(0, "c0", "look_up", '{"a'),
        ToolCallDelta(1, "c1", "look_up", ""),
        ToolCallDelta(0, None, None, '":1}'),
        ReasoningItems([{"type": "reasoning"}]),
        ChoiceFinished("tool_calls", USED, {}),
    ]

    def calls(place: int, arguments: str, call_id: str | None = None) -> dict[str, Any]:
        named = {"id": call_id, "type": "function"} if call_id else {}
        function = {"name": "look_up", "arguments": arguments} if call_id else {"arguments": arguments}
        return {"tool_calls": [{"index": place, **named, "function": function}]}

    assert written(ChatEventWriter(asked()), events) == [
        chunk(CLEAR),
        chunk({"reasoning_content": "Hm."}),
        chunk(calls(0, '{"a', "c0")),
        chunk(calls(1, "", "c1")),
        chunk(calls(0, '":1}')),
        chunk({}, reason="tool_calls", usage=TOLD),
        (None, "[DONE]"),
    ]


def test_a_custom_tools_call_comes_whole_and_as_text_before_the_end_of_its_choice() -> None:
    request = asked(text_tools=frozenset({"run"}), choices=2, ids=[ID, OTHER_ID])
    events: list[Event] = [
        ChoiceStarted(),
        ToolCallDelta(0, "c0", "run", '{"inp'),
        ToolCallDelta(1, "c1", "look_up", "{}"),
        ChoiceStarted(choice=1),
        ToolCallDelta(0, None, None, 'ut": "ls -l"}'),
        ChoiceFinished("tool_calls", USED, {}),
        ToolCallDelta(0, "c2", "run", "no JSON", choice=1),
        ChoiceFinished("tool_calls", TokenUsage(), {}, choice=1),
    ]
    first = {"index": 0, "id": "c0", "type": "custom", "custom": {"name": "run", "input": "ls -l"}}
    other = {"index": 1, "id": "c1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    second = {"index": 0, "id": "c2", "type": "custom", "custom": {"name": "run", "input": "no JSON"}}

    assert written(ChatEventWriter(request), events) == [
        chunk(CLEAR),
        chunk({"tool_calls": [other]}),
        chunk(CLEAR, choice=1),
        chunk({"tool_calls": [first]}),
        chunk({}, reason="tool_calls"),
        chunk({"tool_calls": [second]}, choice=1),
        chunk({}, reason="tool_calls", choice=1, usage=TOLD),
        (None, "[DONE]"),
    ]


def test_a_whole_answer_with_a_custom_tools_call_is_what_the_sdk_takes() -> None:
    choice = Choice(calls=[ToolCall("c0", "run", '{"input": "ls -l"}')], finish_reason="tool_calls")
    exchange = ChatExchange(asked(text_tools=frozenset({"run"})))

    document = ChatCompletion.model_validate(exchange.make_response_body(Answer([choice])))

    assert document.choices[0].message.model_dump()["tool_calls"] == [
        {"id": "c0", "type": "custom", "custom": {"name": "run", "input": "ls -l"}}
    ]


def test_several_choices_end_with_what_all_used() -> None:
    events: list[Event] = [
        ChoiceStarted((), 1),
        TextDelta("B", 1),
        ChoiceStarted((), 0),
        ChoiceFinished("length", TokenUsage(5, 1), {}, 1),
        TextDelta("A", 0),
        ChoiceFinished("stop", TokenUsage(5, 2), {}, 0),
    ]

    found = written(ChatEventWriter(asked(choices=2, ids=[ID, OTHER_ID])), events)

    assert found[3] == chunk({}, reason="length", choice=1)
    assert found[-2][1]["usage"]["total_tokens"] == 13
    assert found[-2][1]["choices"][0]["finish_reason"] == "stop"


def test_a_stream_that_fails_ends_with_the_error_and_without_done() -> None:
    events: list[Event] = [
        ChoiceStarted(),
        RefusalDelta("I"),
        StreamFailed(RequestFault(502, "stream_interrupted", "It broke.")),
    ]

    assert written(ChatEventWriter(asked()), events)[1:] == [
        chunk({"refusal": "I"}),
        (
            None,
            {
                "error": {
                    "message": "It broke.",
                    "type": "server_error",
                    "param": None,
                    "code": "stream_interrupted",
                }
            },
        ),
    ]


def test_half_a_surrogate_pair_is_escaped() -> None:
    assert b"\\ud83d" in ChatEventWriter(asked()).encode(TextDelta("\ud83d"))


def test_a_whole_answer_is_what_the_sdk_takes() -> None:
    call = ToolCall("c0", "look_up", '{"a":1}')
    choice = Choice("Well.", "", "Hm.", (), [call], "tool_calls", USED, receipt={"id": ID})

    document = ChatExchange(asked(), includes_receipt=True).make_response_body(Answer([choice]))

    message = ChatCompletion.model_validate(document, strict=True).choices[0].message
    assert (message.content, message.tool_calls and message.tool_calls[0].id) == ("Well.", "c0")
    assert document["usage"] == TOLD
    assert document["patchbay"] == {"receipts": [{"id": ID}]}
    assert document["choices"][0]["message"]["reasoning_content"] == "Hm."


def test_every_chunk_is_what_the_sdk_takes() -> None:
    logprobs = [{"token": "a", "logprob": -0.5, "bytes": None, "top_logprobs": []}]
    events: list[Event] = [
        ChoiceStarted(),
        TextDelta("a", 0, logprobs),
        ToolCallDelta(0, "c0", "look_up", "{}"),
        ChoiceFinished("tool_calls", USED, {}),
    ]

    for _, data in written(ChatEventWriter(asked(), separate_usage_chunk=True), events)[:-1]:
        ChatCompletionChunk.model_validate(data, strict=True)


@pytest.mark.parametrize(
    "client", [one for one in CLIENTS if requests_of(one)[0].path.endswith("completions")]
)
def test_what_real_clients_send_is_read(client: str) -> None:
    question, answered = (ChatWire().parse_request(request.body).request for request in requests_of(client))

    assert question.streams == answered.streams
    assert question.tools
    assert isinstance(answered.messages[-1], ToolMessage)
    assert isinstance(answered.messages[-2], AIMessage)
    assert answered.messages[-1].tool_call_id == answered.messages[-2].tool_calls[0]["id"]
    assert not question.ignored


def test_a_developer_is_the_system_and_names_are_kept() -> None:
    body = {
        "model": "chat",
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "name": "Ann", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "assistant", "content": None, "refusal": "No."},
        ],
    }

    system, user, model = ChatWire().parse_request(body).request.messages

    assert isinstance(system, SystemMessage)
    assert user.name == "Ann"
    assert model.additional_kwargs == {"refusal": "No."}


def test_a_call_whose_arguments_are_no_object_is_kept_as_it_is() -> None:
    call = {"id": "c0", "type": "function", "function": {"name": "look_up", "arguments": "{'a'"}}
    body = {"model": "chat", "messages": [{"role": "assistant", "tool_calls": [call]}]}

    (message,) = ChatWire().parse_request(body).request.messages

    assert isinstance(message, AIMessage)
    assert message.invalid_tool_calls[0]["args"] == "{'a'"


def test_tools_may_be_narrowed_down() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("a", "b")]
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "b"}}]}
    body = {
        "model": "chat",
        "messages": [{"role": "user", "content": "x"}],
        "tools": [*tools, {"type": "web_search"}],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": allowed},
    }

    request = ChatWire().parse_request(body).request

    assert [tool["function"]["name"] for tool in request.tools] == ["b"]
    assert request.tool_choice == "required"
    assert request.ignored == ["web_search"]


def test_what_is_ignored_is_told_if_it_said_something() -> None:
    body = {
        "model": "chat",
        "messages": [{"role": "user", "content": "x"}],
        "logit_bias": {"1": 2},
        "frequency_penalty": 0,
        "temprature": 1,
        "bad\r\nname": 1,
    }

    assert ChatWire().parse_request(body).request.ignored == ["logit_bias", "temprature", "bad??name"]


@pytest.mark.parametrize("name", ["model", "messages"])
def test_what_is_missing_is_named(name: str) -> None:
    body = {"model": "chat", "messages": [{"role": "user", "content": "x"}]}
    del body[name]

    with pytest.raises(InvalidRequestError) as refused:
        ChatWire().parse_request(body)
    assert refused.value.fault.param == name
