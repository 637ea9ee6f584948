"""Responses: golden sequences of events, each valid by Open Responses and for OpenAI's SDK."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from backend.tests.unit.wires.client_requests import CLIENTS, requests_of
from backend.tests.unit.wires.open_responses import event_faults, faults_of
from backend.tests.unit.wires.streams import written
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
from backend.wires.openai.responses import ResponsesWire
from backend.wires.openai.responses_tools import LONGEST_NAME
from backend.wires.request import MOST_IGNORED

SDK: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
USED = TokenUsage(input=5, output=3, cached=2, reasoning=1)
LOOK_UP = {"type": "function", "name": "look_up", "parameters": {"type": "object"}, "strict": True}
CUSTOM = {
    "type": "custom",
    "name": "exec",
    "description": "Runs code.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}
NAMESPACE = {"type": "namespace", "name": "clock", "description": "", "tools": [LOOK_UP, CUSTOM]}
BODY: dict[str, Any] = {"model": "chat", "input": "Hello?", "tools": [LOOK_UP, NAMESPACE]}
TEXT = [TextDelta("Good "), TextDelta("day.")]
LIKELY = [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}]
SEQUENCES: dict[str, list[Event]] = {
    "text": [*TEXT, ChoiceFinished("stop", USED, {})],
    "logprobs": [TextDelta("a", 0, LIKELY), ChoiceFinished("stop", USED, {})],
    "thoughts": [ReasoningDelta("Hm. "), ReasoningDelta("So."), *TEXT, ChoiceFinished("stop", USED, {})],
    "calls": [
        TextDelta("Well."),
        ToolCallDelta(0, "c0", "look_up", '{"a'),
        ToolCallDelta(1, "c1", "clock__look_up", ""),
        ToolCallDelta(0, None, None, '":1}'),
        ChoiceFinished("tool_calls", USED, {}),
    ],
    "refusal": [RefusalDelta("I can"), RefusalDelta("not."), ChoiceFinished("stop", USED, {})],
    "cut": [*TEXT, ChoiceFinished("length", USED, {})],
    "cut call": [ToolCallDelta(0, "c0", "look_up", '{"a'), ChoiceFinished("length", USED, {})],
    "filtered": [*TEXT, ChoiceFinished("content_filter", USED, {})],
    "broken": [*TEXT, StreamFailed(RequestFault(502, "stream_interrupted", "It broke."))],
    "limited": [StreamFailed(RequestFault(429, "rate_limited", "Too many."))],
    "nothing": [ChoiceFinished("stop", USED, {})],
}


def events_of(name: str, **more: Any) -> list[tuple[str | None, Any]]:
    return written(
        ResponsesWire().parse_request(BODY | more).make_event_writer(), [ChoiceStarted(), *SEQUENCES[name]]
    )


def names_of(events: list[tuple[str | None, Any]]) -> list[str]:
    return [str(name).removeprefix("response.") for name, data in events if data != "[DONE]"]


@pytest.mark.parametrize("name", SEQUENCES)
def test_every_event_is_valid_by_open_responses_and_for_the_sdk(name: str) -> None:
    *events, last = events_of(name)

    for number, (kind, data) in enumerate(events):
        assert data["type"] == kind
        assert data["sequence_number"] == number
        assert event_faults(data) == []
        SDK.validate_python(data)
    assert last == (None, "[DONE]")


def test_a_text_is_an_item_with_a_part() -> None:
    events = events_of("text")

    assert names_of(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    done = events[-2][1]["response"]
    part = {"type": "output_text", "text": "Good day.", "annotations": [], "logprobs": []}
    assert done["output"] == [events[-3][1]["item"]]
    assert done["output"][0]["content"] == [part]
    assert done["usage"] == {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 8,
    }


def test_thoughts_are_an_item_of_their_own_before_the_answer() -> None:
    events = events_of("thoughts")

    assert names_of(events)[2:9] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    thought, message = events[-2][1]["response"]["output"]
    assert thought["summary"] == [{"type": "summary_text", "text": "Hm. So."}]
    assert message["type"] == "message"


def test_calls_stay_open_side_by_side_and_are_done_in_order() -> None:
    events = events_of("calls")

    assert names_of(events)[8:] == [
        "output_item.added",
        "function_call_arguments.delta",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    _, first, second = events[-2][1]["response"]["output"]
    assert (first["name"], first["arguments"], first.get("namespace")) == ("look_up", '{"a":1}', None)
    assert (second["name"], second["arguments"], second["namespace"]) == ("look_up", "{}", "clock")


def test_what_was_cut_off_is_incomplete() -> None:
    response = events_of("cut")[-2][1]["response"]

    assert (response["status"], response["incomplete_details"]) == (
        "incomplete",
        {"reason": "max_output_tokens"},
    )
    assert response["output"][0]["status"] == "incomplete"
    assert response["completed_at"] is None


def test_a_failure_is_the_response_s() -> None:
    response = events_of("broken")[-2][1]["response"]

    assert response["status"] == "failed"
    assert response["error"] == {"code": "server_error", "message": "It broke."}
    assert response["output"][0]["content"][0]["text"] == "Good day."
    assert events_of("limited")[-2][1]["response"]["error"]["code"] == "rate_limit_exceeded"


def test_a_custom_tool_is_called_with_its_text() -> None:
    called = ToolCallDelta(0, "c0", "clock__exec", '{"input": "say \\"hi\\""}')

    events = written(
        ResponsesWire().parse_request(BODY).make_event_writer(),
        [ChoiceStarted(), called, ChoiceFinished("tool_calls", USED, {})],
    )

    for _, data in events[:-1]:
        SDK.validate_python(data)
    (item,) = events[-2][1]["response"]["output"]
    assert item == {
        "id": item["id"],
        "type": "custom_tool_call",
        "status": "completed",
        "call_id": "c0",
        "name": "exec",
        "namespace": "clock",
        "input": 'say "hi"',
    }
    assert names_of(events)[3:5] == ["custom_tool_call_input.delta", "custom_tool_call_input.done"]


@pytest.mark.parametrize("reason", ["stop", "length"])
def test_a_whole_response_is_valid_and_the_same_as_a_streams(reason: Any) -> None:
    calls = [ToolCall("c0", "look_up", "{}"), ToolCall("c1", "clock__look_up", "{}")]
    choice = Choice("Good day.", "", "Hm.", (), calls, reason, USED)
    exchange = ResponsesWire().parse_request(BODY)
    streamed = written(
        exchange.make_event_writer(),
        [
            ChoiceStarted(),
            ReasoningDelta("Hm."),
            *TEXT,
            ToolCallDelta(0, "c0", "look_up", "{}"),
            ToolCallDelta(1, "c1", "clock__look_up", "{}"),
            ChoiceFinished(reason, USED, {}),
        ],
    )

    document: Any = exchange.make_response_body(Answer([choice]))

    assert faults_of(document, "ResponseResource") == []
    Response.model_validate(document)
    assert document["output"] == streamed[-2][1]["response"]["output"]


def test_the_response_repeats_what_was_asked() -> None:
    schema = {"type": "json_schema", "name": "panel", "schema": {"type": "object"}, "strict": False}
    described = schema | {"description": None}
    more = {
        "instructions": "Be brief.",
        "max_output_tokens": 99,
        "metadata": {"a": "b"},
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": schema, "verbosity": "low"},
        "tool_choice": {"type": "function", "name": "look_up"},
    }

    response = events_of("text", **more)[0][1]["response"]

    assert response["instructions"] == "Be brief."
    assert response["max_output_tokens"] == 99
    assert response["metadata"] == {"a": "b"}
    assert response["reasoning"] == {"effort": "low", "summary": "auto"}
    assert response["text"] == {"format": described, "verbosity": "low"}
    assert response["tool_choice"] == {"type": "function", "name": "look_up"}
    assert response["store"] is False
    assert faults_of(response, "ResponseResource") == []


# Requests ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", [one for one in CLIENTS if requests_of(one)[0].path.endswith("responses")])
def test_what_real_clients_send_is_read(client: str) -> None:
    question, answered = (
        ResponsesWire().parse_request(request.body).request for request in requests_of(client)
    )

    assert question.streams
    assert question.tools
    assert isinstance(answered.messages[-1], ToolMessage)
    assert isinstance(answered.messages[-2], AIMessage)
    assert answered.messages[-1].tool_call_id == answered.messages[-2].tool_calls[0]["id"]
    assert set(question.ignored) <= {"web_search"}


def test_codex_s_namespaces_are_flattened() -> None:
    names = {
        client: [
            tool["function"]["name"]
            for tool in ResponsesWire().parse_request(requests_of(client)[0].body).request.tools
        ]
        for client in ("codex", "codex-gpt-6-luna")
    }

    assert "multi_agent_v1__spawn_agent" in names["codex"]
    assert {"functions__exec", "clock__sleep"} <= set(names["codex-gpt-6-luna"])


def test_what_a_model_said_in_one_go_is_one_message() -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Well."}]},
        {
            "type": "function_call",
            "call_id": "c0",
            "name": "look_up",
            "namespace": "clock",
            "arguments": "{}",
        },
        {"type": "custom_tool_call", "call_id": "c1", "name": "exec", "input": "1"},
        {"type": "function_call_output", "call_id": "c0", "output": "noon"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "2"}]},
        {"type": "web_search_call", "id": "ws", "status": "completed"},
    ]

    request = (
        ResponsesWire().parse_request({"model": "chat", "input": items, "instructions": "Be brief."}).request
    )

    system, user, model, first, second = request.messages
    assert isinstance(system, SystemMessage)
    assert isinstance(user, HumanMessage)
    assert isinstance(model, AIMessage)
    assert model.additional_kwargs == {"reasoning_content": "Hm."}
    assert [(call["name"], call["args"]) for call in model.tool_calls] == [
        ("clock__look_up", {}),
        ("exec", {"input": "1"}),
    ]
    assert [message.tool_call_id for message in (first, second) if isinstance(message, ToolMessage)] == [
        "c0",
        "c1",
    ]
    assert request.ignored == ["web_search_call"]


def test_a_name_that_would_be_too_long_is_cut_and_still_told_apart() -> None:
    tools = [{"type": "function", "name": f"{'a' * 60}{end}"} for end in "xy"]
    body = BODY | {"tools": [{"type": "namespace", "name": "ns", "tools": tools}]}

    exchange = ResponsesWire().parse_request(body)

    names = [tool["function"]["name"] for tool in exchange.request.tools]
    assert [len(name) for name in names] == [LONGEST_NAME] * 2
    assert exchange.asked.tools.find_client_tool(names[1]).name == tools[1]["name"]


def test_a_custom_tools_grammar_is_told_to_the_model() -> None:
    (tool,) = ResponsesWire().parse_request(BODY | {"tools": [CUSTOM]}).request.tools

    assert "start: /.+/" in tool["function"]["description"]
    assert tool["function"]["parameters"]["required"] == ["input"]


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"input": []}, "input"),
        ({"input": 1}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "boss", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "smell"}]}]}, "input[0].content[0].type"),
        ({"input": [{"type": "function_call", "name": "x"}]}, "input[0].call_id"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [LOOK_UP, LOOK_UP]}, "tools"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "x"}}, "tool_choice"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
    ],
)
def test_what_is_wrong_is_told_by_its_place(more: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        ResponsesWire().parse_request(BODY | more)

    assert refused.value.fault.param == param


def test_tools_that_openai_would_run_are_left_out_and_told() -> None:
    body = BODY | {"tools": [LOOK_UP, {"type": "web_search"}], "store": True, "include": ["x.y"], "foo": 1}

    request = ResponsesWire().parse_request(body).request

    assert len(request.tools) == 1
    assert request.ignored == ["foo", "store", "x.y", "web_search"]


# Thoughts ------------------------------------------------------------------------------------------------------------

ITEMS = [{"type": "reasoning", "id": "rs_1", "encrypted_content": "secret"}]
SERVED = {"endpoint": "openai:gpt-6-luna"}
KEPT = BODY | {"include": ["reasoning.encrypted_content"]}


@pytest.mark.parametrize("thought", [[ReasoningDelta("Hm.")], []], ids=["told", "not told"])
def test_thoughts_that_went_to_a_client_come_back_for_their_provider(thought: list[Event]) -> None:
    call = ToolCallDelta(0, "c0", "look_up", "{}")
    end = ChoiceFinished("tool_calls", USED, SERVED)
    events = written(
        ResponsesWire().parse_request(KEPT).make_event_writer(),
        [ChoiceStarted(), *thought, call, ReasoningItems(ITEMS), end],
    )

    output = events[-2][1]["response"]["output"]
    again = KEPT | {"input": [*output, {"type": "function_call_output", "call_id": "c0", "output": "x"}]}
    turn, _ = ResponsesWire().parse_request(again).request.messages

    for _, data in events[:-1]:
        assert event_faults(data) == []
    assert turn.additional_kwargs == {"reasoning_details": ITEMS}
    assert turn.response_metadata == {"receipt": SERVED}


def test_thoughts_are_kept_only_for_those_who_ask_and_only_beside_calls() -> None:
    thoughts: list[Event] = [ChoiceStarted(), ReasoningDelta("Hm."), *TEXT, ReasoningItems(ITEMS)]
    end = ChoiceFinished("stop", USED, SERVED)

    asked = written(ResponsesWire().parse_request(KEPT).make_event_writer(), [*thoughts, end])[-2][1][
        "response"
    ]["output"]
    whole: Any = (
        ResponsesWire()
        .parse_request(BODY)
        .make_response_body(
            Answer([Choice(calls=[ToolCall("c0", "x", "")], reasoning_items=ITEMS, receipt=SERVED)])
        )
    )

    assert [item["type"] for item in asked] == ["reasoning", "message"]
    assert asked[0]["encrypted_content"] is None
    assert [item["type"] for item in whole["output"]] == ["function_call"]


@pytest.mark.parametrize("kept", ["patchbay:", "patchbay:e30=", "patchbay:????", "gAAAA", 7])
def test_thoughts_that_are_not_ours_are_left_out(kept: object) -> None:
    item = {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": kept}
    said = {"role": "assistant", "content": "Well."}

    (turn,) = ResponsesWire().parse_request(BODY | {"input": [item, said]}).request.messages

    assert turn.additional_kwargs == {}
    assert turn.response_metadata == {}


def test_no_probabilities_are_asked_for_by_a_zero() -> None:
    none = ResponsesWire().parse_request(BODY | {"top_logprobs": 0}).request.options
    some = ResponsesWire().parse_request(BODY | {"include": ["message.output_text.logprobs"]}).request.options

    assert none.model_fields_set == set()
    assert some.logprobs is True


def test_what_is_left_out_is_told_once_and_never_without_end() -> None:
    items = [{"type": f"call_of_{number % 30}"} for number in range(3000)]
    said = {"role": "user", "content": "Hi"}

    ignored = ResponsesWire().parse_request(BODY | {"input": [said, *items]}).request.ignored

    assert ignored == [f"call_of_{number}" for number in range(MOST_IGNORED)]
