"""Features and groups answer requests, as a whole and as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import HumanMessage

from backend.utils.llm.errors import LLMError, NoEndpointError
from backend.utils.llm.options import Options
from backend.utils.llm.testing import Cut, Status, Text, ToolCalls
from backend.wires.answer import ChoiceFinished, ChoiceStarted, StreamFailed, TextDelta, ToolCallDelta
from backend.wires.faults import UnknownModelError
from backend.wires.request import CompletionRequest
from backend.wires.streams import yield_with_error_event

if TYPE_CHECKING:
    from backend.utils.llm.testing import LoopbackProvider
    from backend.wires.answer import Event
    from backend.wires.responders import ResponderRegistry

TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
    },
}


def request_to(model: str, **more: Any) -> CompletionRequest:
    return CompletionRequest(model=model, messages=[HumanMessage("Hello?")], **more)


async def events_of(responders: ResponderRegistry, request: CompletionRequest) -> list[Event]:
    stream = responders.find_responder(request.model).stream(request)
    return [event async for event in yield_with_error_event(await anext(stream), stream)]


async def test_a_features_answer_has_its_text_usage_and_the_calls_id(
    responders: ResponderRegistry, provider: LoopbackProvider
) -> None:
    provider.script(Text("Good morning."))
    request = request_to("chat")

    answer = await responders.find_responder("chat").answer(request)

    (choice,) = answer.choices
    assert (choice.text, choice.finish_reason) == ("Good morning.", "stop")
    assert choice.usage.output > 0
    assert (choice.receipt["id"], choice.receipt["feature"]) == (request.id, "chat")


async def test_a_group_answers_by_its_name(responders: ResponderRegistry, provider: LoopbackProvider) -> None:
    provider.script(Status(404), Text("I do."))

    answer = await responders.find_responder("group:fast").answer(request_to("group:fast"))

    assert answer.choices[0].receipt["feature"] == "group:fast"
    assert provider.requests[0].path.endswith("/messages")


def test_features_and_groups_are_listed_and_nobody_else_answers(responders: ResponderRegistry) -> None:
    assert [model.name for model in responders.list_models()] == ["chat", "told", "group:fast"]
    with pytest.raises(UnknownModelError, match="Did you mean `group:fast`"):
        responders.find_responder("group:fats")


async def test_a_stream_begins_with_its_start_and_ends_with_usage_and_receipt(
    responders: ResponderRegistry, provider: LoopbackProvider
) -> None:
    provider.script(Text("Good morning."))

    events = await events_of(responders, request_to("chat", streams=True))

    assert events[0] == ChoiceStarted()
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "Good morning."
    assert isinstance(events[-1], ChoiceFinished)
    assert events[-1].usage.output > 0
    assert events[-1].receipt["feature"] == "chat"


async def test_calls_of_tools_come_whole_and_in_pieces(
    responders: ResponderRegistry, provider: LoopbackProvider
) -> None:
    provider.always(ToolCalls((("look_up", {"word": "patch"}), ("look_up", {"word": "bay"}))))
    request = request_to("chat", tools=[TOOL])

    whole = (await responders.find_responder("chat").answer(request)).choices[0]
    events = await events_of(responders, request)

    assert [(call.name, call.arguments) for call in whole.calls] == [
        ("look_up", '{"word": "patch"}'),
        ("look_up", '{"word": "bay"}'),
    ]
    assert whole.finish_reason == "tool_calls"
    pieces = [event for event in events if isinstance(event, ToolCallDelta)]
    assert [(piece.place, piece.name) for piece in pieces if piece.name] == [(0, "look_up"), (1, "look_up")]
    assert isinstance(events[-1], ChoiceFinished)
    assert events[-1].reason == "tool_calls"


async def test_each_choice_is_a_call_of_its_own(
    responders: ResponderRegistry, provider: LoopbackProvider
) -> None:
    provider.always(Text("Good morning."))
    request = request_to("chat", choices=3)

    answer = await responders.find_responder("chat").answer(request)
    events = await events_of(responders, request)

    assert [choice.receipt["id"] for choice in answer.choices] == list(request.ids)
    assert answer.usage.output == 3 * answer.choices[0].usage.output
    assert sorted(event.choice for event in events if isinstance(event, ChoiceFinished)) == [0, 1, 2]


async def test_an_option_that_no_endpoint_takes_is_left_out_and_told(
    responders: ResponderRegistry, provider: LoopbackProvider
) -> None:
    provider.always(Text("Good morning."))
    request = request_to("chat", options=Options(temperature=0, max_output_tokens=100))

    answer = await responders.find_responder("chat").answer(request)
    events = await events_of(responders, request)

    assert answer.ignored == ("temperature",)
    assert events[0] == ChoiceStarted(("temperature",))
    assert all(sent.body["max_completion_tokens"] == 100 for sent in provider.requests)


async def test_what_is_more_than_a_wish_is_refused(responders: ResponderRegistry) -> None:
    with pytest.raises(NoEndpointError):
        await responders.find_responder("chat").answer(request_to("chat", options=Options(top_logprobs=2)))


async def test_a_stream_that_breaks_ends_with_its_fault(
    responders: ResponderRegistry, provider: LoopbackProvider
) -> None:
    provider.script(Cut(3, "Good morning to all of you."))

    events = await events_of(responders, request_to("chat", streams=True))

    assert isinstance(events[-1], StreamFailed)
    assert events[-1].fault.code == "stream_interrupted"


async def test_a_stream_that_does_not_begin_raises(
    responders: ResponderRegistry, provider: LoopbackProvider
) -> None:
    provider.script(Status(400))

    with pytest.raises(LLMError):
        await events_of(responders, request_to("chat", streams=True))
