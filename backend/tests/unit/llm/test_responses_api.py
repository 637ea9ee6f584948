"""An endpoint that is spoken to by OpenAI's Responses is one like any other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage

from backend.utils.llm.caller import Caller, use_caller
from backend.utils.llm.errors import (
    InvalidOutputError,
    LLMError,
    ProviderDownError,
    QuotaExceededError,
    RateLimitedError,
    RefusedError,
    StreamInterruptedError,
)
from backend.utils.llm.testing import (
    CleanEnd,
    Cut,
    Empty,
    Html,
    Json,
    LoopbackProvider,
    Raw,
    Refusal,
    Reply,
    Status,
    StreamError,
    Text,
    ToolCalls,
    Usage,
    WrongJson,
)
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.transport import TICKET_HEADER

from .samples import CANARY, Person, add, receipt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.testing.virtual_time import VirtualTime

    from .drivers import Driver


RESPONSES, CHAT, GEMINI = "openai:gpt-5.4", "openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"
FEATURES = {
    "f": RESPONSES,
    "chat": CHAT,
    "gemini": GEMINI,
    "responses_first": [RESPONSES, CHAT, GEMINI],
    "responses_last": [GEMINI, CHAT, RESPONSES],
}
TABLE = f'[models."{RESPONSES}"]\napi_mode = "responses"\n'
HOSTILE = {
    "LC_OUTPUT_VERSION": "v1",
    "OPENAI_API_BASE": "http://127.0.0.1:9",
    "OPENAI_API_KEY": "hostile-key",
    "OPENAI_BASE_URL": "http://127.0.0.1:9",
    "OPENAI_CUSTOM_HEADERS": "X-Hostile: hostile-header",
    "OPENAI_ORG_ID": "org-hostile",
    "OPENAI_PROJECT_ID": "proj-hostile",
    "OPENAI_PROXY": "http://127.0.0.1:9",
}
SUM = (("add", {"first": 2, "second": 3}),)


@pytest.fixture
def patchbay(provider: LoopbackProvider, virtual: VirtualTime) -> Iterator[Patchbay]:
    made = loopback_patchbay(provider, FEATURES, TABLE, time=virtual.time)
    yield made
    made.close()


def events(*told: dict[str, Any]) -> Raw:
    """A stream of just these events."""
    return Raw(200, "".join(f"data: {json.dumps(event)}\n\n" for event in told), "text/event-stream")


class TestRequests:
    """What goes out."""

    def test_it_goes_to_responses(self, patchbay: Patchbay, call: Driver, provider: LoopbackProvider) -> None:
        call(patchbay.get_llm("f"), "hi")

        assert [request.path for request in provider.requests] == ["/v1/responses"]

    def test_openai_is_asked_to_store_nothing(
        self, patchbay: Patchbay, call: Driver, provider: LoopbackProvider
    ) -> None:
        call(patchbay.get_llm("f"), "hi")

        assert provider.requests[-1].body["store"] is False

    def test_options_have_the_names_of_this_api(self, patchbay: Patchbay, provider: LoopbackProvider) -> None:
        options: dict[str, Any] = {
            "effort": "low",
            "max_output_tokens": 77,
            "top_p": 0.5,
            "cache_retention": "24h",
        }

        patchbay.get_llm("f", cache_key="prefix-1").invoke("hi", **options)

        body = provider.requests[-1].body
        assert body["reasoning"] == {"effort": "low"}
        assert body["max_output_tokens"] == 77
        assert body["top_p"] == 0.5
        assert body["prompt_cache_retention"] == "24h"
        assert body["prompt_cache_key"] == "prefix-1"

    @pytest.mark.parametrize("options", [{}, {"effort": "low"}])
    def test_a_temperature_is_sent_whatever_the_effort(
        self, patchbay: Patchbay, provider: LoopbackProvider, options: dict[str, Any]
    ) -> None:
        patchbay.get_llm("f").invoke("hi", temperature=0.0, **options)

        assert provider.requests[-1].body["temperature"] == 0.0

    def test_tools_are_no_stricter_than_in_chat_completions(
        self, patchbay: Patchbay, call: Driver, provider: LoopbackProvider
    ) -> None:
        model = patchbay.get_llm("f").bind_tools([add], tool_choice="add", parallel_tool_calls=False)

        call(model, "2 and 3")

        body = provider.requests[-1].body
        (tool,) = body["tools"]
        assert (tool["type"], tool["name"], tool["strict"]) == ("function", "add", False)
        assert body["tool_choice"] == {"type": "function", "name": "add"}
        assert body["parallel_tool_calls"] is False

    def test_tools_that_are_bound_as_strict_stay_so(
        self, patchbay: Patchbay, provider: LoopbackProvider
    ) -> None:
        patchbay.get_llm("f").bind_tools([add], strict=True).invoke("hi")

        assert provider.requests[-1].body["tools"][0]["strict"] is True

    @pytest.mark.parametrize("choice", ["auto", "none", "required"])
    def test_a_choice_without_a_name_is_a_word(
        self, patchbay: Patchbay, provider: LoopbackProvider, choice: str
    ) -> None:
        patchbay.get_llm("f").bind_tools([add], tool_choice=choice).invoke("hi")

        assert provider.requests[-1].body["tool_choice"] == choice

    def test_a_schema_is_a_format_of_the_text(self, patchbay: Patchbay, provider: LoopbackProvider) -> None:
        patchbay.get_llm("f").with_structured_output(Person).invoke("hi")

        asked = provider.requests[-1].body["text"]["format"]
        assert (asked["type"], asked["name"], asked["strict"]) == ("json_schema", "Person", True)
        assert set(asked["schema"]["properties"]) == {"name", "age"}

    def test_any_json_is_one_too(self, patchbay: Patchbay, provider: LoopbackProvider) -> None:
        provider.script(Json({"name": "Ann", "age": 30}))

        patchbay.get_llm("f").with_structured_output(Person, method="json_mode").invoke("Answer in JSON.")

        assert provider.requests[-1].body["text"] == {"format": {"type": "json_object"}}

    def test_roles_and_pictures_arrive(self, patchbay: Patchbay, provider: LoopbackProvider) -> None:
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}

        answer = patchbay.get_llm("f").invoke(
            [
                SystemMessage("Be brief."),
                HumanMessage("One"),
                AIMessage("1"),
                HumanMessage([{"type": "text", "text": "Two"}, picture]),
            ]
        )

        roles = [item["role"] for item in provider.requests[-1].body["input"]]
        assert roles == ["system", "user", "assistant", "user"]
        assert "I was given 1 image." in answer.text

    def test_no_key_and_no_ticket_leave_the_house(
        self, patchbay: Patchbay, call: Driver, provider: LoopbackProvider
    ) -> None:
        with use_caller(Caller(keys={"openai": CANARY})):
            call(patchbay.get_llm("f"), "hi")

        request = provider.requests[-1]
        assert request.key == CANARY
        assert CANARY not in json.dumps(request.body)
        assert TICKET_HEADER not in request.headers

    def test_the_environment_changes_nothing(
        self, provider: LoopbackProvider, monkeypatch: pytest.MonkeyPatch, call: Driver
    ) -> None:
        for name, value in HOSTILE.items():
            monkeypatch.setenv(name, value)
        patchbay = loopback_patchbay(provider, FEATURES, TABLE)

        content = call(patchbay.get_llm("f"), "hi").content
        patchbay.close()

        (request,) = provider.requests
        assert isinstance(content, str)
        assert "hostile" not in f"{dict(request.headers)} {request.body}"


class TestToolLoop:
    """A call, its result, an answer: also when another API made the call."""

    @pytest.mark.parametrize("second", ["f", "chat", "gemini"])
    @pytest.mark.parametrize("first", ["f", "chat", "gemini"])
    def test_a_result_finds_its_call(
        self, patchbay: Patchbay, call: Driver, provider: LoopbackProvider, first: str, second: str
    ) -> None:
        provider.script(ToolCalls(SUM))
        called = call(patchbay.get_llm(first).bind_tools([add]), "2 and 3")
        result = ToolMessage("5", tool_call_id=called.tool_calls[0]["id"])

        answer = call(patchbay.get_llm(second).bind_tools([add]), ["2 and 3", called, result])

        assert answer.text == "The tool answered: 5"

    def test_what_is_sent_back_is_the_call_and_its_result(
        self, patchbay: Patchbay, call: Driver, provider: LoopbackProvider
    ) -> None:
        model = patchbay.get_llm("f").bind_tools([add])
        provider.script(ToolCalls(SUM))
        called = call(model, "2 and 3")
        number = called.tool_calls[0]["id"]

        call(model, ["2 and 3", called, ToolMessage("5", tool_call_id=number)])

        said, asked, got = provider.requests[-1].body["input"]
        assert said["role"] == "user"
        assert asked == {
            "type": "function_call",
            "name": "add",
            "arguments": '{"first": 2, "second": 3}',
            "call_id": number,
        }
        assert got == {"type": "function_call_output", "call_id": number, "output": "5"}


class TestAnswers:
    """What comes back looks as from the other APIs."""

    def test_text_is_one_string(self, patchbay: Patchbay, call: Driver, provider: LoopbackProvider) -> None:
        provider.script(Text("Good morning.", usage=Usage(9, 8, reasoning_tokens=5)))

        message = call(patchbay.get_llm("f"), "hi")

        assert message.content == message.text == "Good morning."

    def test_a_stream_has_the_text_in_pieces_and_once(
        self, patchbay: Patchbay, provider: LoopbackProvider
    ) -> None:
        provider.script(Text("one two three", usage=Usage(9, 8, reasoning_tokens=5)))

        contents = [chunk.content for chunk in patchbay.get_llm("f").stream("hi")]

        assert [content for content in contents if content != ""] == ["one ", "two ", "three"]

    def test_a_stream_has_a_call_in_pieces(self, patchbay: Patchbay, provider: LoopbackProvider) -> None:
        provider.script(ToolCalls(SUM))

        chunks = list(patchbay.get_llm("f").bind_tools([add]).stream("hi"))

        pieces = [
            piece for chunk in chunks if isinstance(chunk, AIMessageChunk) for piece in chunk.tool_call_chunks
        ]
        assert "".join(piece["args"] or "" for piece in pieces) == '{"first": 2, "second": 3}'
        assert len(pieces) > 2
        assert {chunk.content for chunk in chunks} == {""}

    def test_several_calls_stay_apart(
        self, patchbay: Patchbay, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(ToolCalls((*SUM, ("add", {"first": 4, "second": 5}))))

        message = call(patchbay.get_llm("f").bind_tools([add]), "hi")

        assert [one["args"]["first"] for one in message.tool_calls] == [2, 4]
        assert len({one["id"] for one in message.tool_calls}) == 2

    @pytest.mark.parametrize(
        ("reply", "reason"),
        [
            (Text("done"), "stop"),
            (Text("cut sh", finish="length"), "length"),
            (ToolCalls(SUM), "tool_calls"),
        ],
    )
    def test_the_finish_reason_has_the_usual_names(
        self, patchbay: Patchbay, call: Driver, provider: LoopbackProvider, reply: Reply, reason: str
    ) -> None:
        provider.script(reply)

        message = call(patchbay.get_llm("f").bind_tools([add]), "hi")

        assert message.response_metadata["finish_reason"] == reason

    def test_usage_and_the_served_model_are_read(
        self, patchbay: Patchbay, call: Driver, provider: LoopbackProvider
    ) -> None:
        provider.script(Text("hi", usage=Usage(30, 20, cached_tokens=12, reasoning_tokens=15)))

        found = receipt(call(patchbay.get_llm("f"), "hi"))

        assert found["attempts"][0]["usage"] == {
            "input": 30,
            "output": 20,
            "cached": 12,
            "cache_write": 0,
            "reasoning": 15,
        }
        assert found["served_model"] == "gpt-5.4-2026-11-01"
        assert float(found["cost_usd"]) > 0

    def test_a_schema_gives_an_object(self, patchbay: Patchbay, provider: LoopbackProvider) -> None:
        provider.script(Json({"name": "Ann", "age": 30}))

        assert patchbay.get_llm("f").with_structured_output(Person).invoke("hi") == Person(name="Ann", age=30)

    def test_an_object_that_was_cut_is_refused(self, patchbay: Patchbay, provider: LoopbackProvider) -> None:
        provider.always(Text('{"name": "Ann", "age": 3}', finish="length"))

        with pytest.raises(InvalidOutputError, match="ran out of tokens"):
            patchbay.get_llm("f").with_structured_output(Person).invoke("hi")

    def test_invalid_json_arguments_become_an_invalid_tool_call(
        self, patchbay: Patchbay, provider: LoopbackProvider
    ) -> None:
        item = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "add", "arguments": '{"first'}
        answer = {"id": "resp_1", "object": "response", "model": "m", "status": "completed", "output": [item]}
        provider.script(Raw(200, json.dumps(answer)))

        message = patchbay.get_llm("f").bind_tools([add]).invoke("hi")

        assert [call["name"] for call in message.invalid_tool_calls] == ["add"]
        assert message.tool_calls == []

    @pytest.mark.parametrize(
        ("text", "heard"),
        [("one STOP two", "one "), ("one S", "one S"), ("STOP", None), ("one STO", "one STO")],
    )
    def test_stop_sequences_hold_though_the_api_has_none(
        self, patchbay: Patchbay, call: Driver, provider: LoopbackProvider, text: str, heard: str | None
    ) -> None:
        provider.always(Text(text, chunks=min(7, len(text))))
        model = patchbay.get_llm("f").bind(stop=["STOP", "HALT"])

        if heard is None:
            with pytest.raises(ProviderDownError, match="empty"):
                call(model, "hi")
        else:
            assert call(model, "hi").text == heard
        assert "stop" not in provider.requests[-1].body


class TestRefusals:
    """Nothing of an answer that was declined is handed on."""

    @pytest.mark.parametrize("reply", [Refusal("I will not.", chunks=3), Refusal("", by="filter")])
    def test_it_is_an_error(
        self, patchbay: Patchbay, call: Driver, provider: LoopbackProvider, reply: Reply
    ) -> None:
        provider.always(reply)

        with pytest.raises(RefusedError):
            call(patchbay.get_llm("f"), "hi")

    def test_nothing_of_it_is_handed_on(
        self, patchbay: Patchbay, stream: Driver, provider: LoopbackProvider
    ) -> None:
        provider.always(Refusal("I will not.", chunks=3))

        with pytest.raises(RefusedError) as caught:
            stream(patchbay.get_llm("f"), "hi")

        assert not isinstance(caught.value, StreamInterruptedError)
        assert "will not" not in str(caught.value)

    def test_a_content_filter_in_the_middle_is_reported(
        self, patchbay: Patchbay, stream: Driver, provider: LoopbackProvider
    ) -> None:
        provider.always(Text("one two", finish="content_filter"))

        with pytest.raises(StreamInterruptedError) as caught:
            stream(patchbay.get_llm("f"), "hi")

        assert caught.value.partial == "one two"


STARTED = {"type": "response.created", "response": {"id": "resp_1", "output": [], "status": "in_progress"}}


def failed(code: str) -> dict[str, Any]:
    error = {"code": code, "message": "It did not work."}
    response = {"id": "resp_1", "model": "m", "output": [], "status": "failed", "error": error}
    return {"type": "response.failed", "sequence_number": 1, "response": response}


class TestFailures:
    """What goes wrong goes wrong as elsewhere."""

    @pytest.mark.parametrize(
        ("code", "error"),
        [("server_error", ProviderDownError), ("rate_limit_exceeded", RateLimitedError)],
    )
    def test_an_answer_that_failed(
        self,
        patchbay: Patchbay,
        call: Driver,
        provider: LoopbackProvider,
        code: str,
        error: type[LLMError],
    ) -> None:
        told = failed(code)
        streamed = call.__name__ in {"stream", "astream"}
        provider.always(events(STARTED, told) if streamed else Raw(200, json.dumps(told["response"])))

        with pytest.raises(error):
            call(patchbay.get_llm("f"), "hi")

    def test_an_event_of_an_error(
        self, patchbay: Patchbay, stream: Driver, provider: LoopbackProvider
    ) -> None:
        provider.always(events(STARTED, {"type": "error", "code": "insufficient_quota", "message": "No."}))

        with pytest.raises(QuotaExceededError):
            stream(patchbay.get_llm("f"), "hi")

    @pytest.mark.parametrize("broken", [Cut(1, "one two three"), CleanEnd(1, "one two three")])
    def test_a_stream_without_its_last_event_is_not_whole(
        self, patchbay: Patchbay, stream: Driver, provider: LoopbackProvider, broken: Reply
    ) -> None:
        provider.always(broken)

        with pytest.raises(StreamInterruptedError) as caught:
            stream(patchbay.get_llm("f"), "hi")

        assert caught.value.partial == "one "

    @pytest.mark.parametrize("feature", ["responses_first", "responses_last"])
    @pytest.mark.parametrize(
        "fault",
        [
            Status(503),
            Status(404),
            Empty(),
            Empty(candidates=1),
            WrongJson(),
            Html(),
            StreamError(0, "", {"code": "server_error", "message": "It did not work."}),
        ],
        ids=lambda fault: repr(fault)[:40],
    )
    def test_a_chain_over_three_apis_falls_over_both_ways(
        self, patchbay: Patchbay, call: Driver, provider: LoopbackProvider, feature: str, fault: Reply
    ) -> None:
        first, second, third = FEATURES[feature]
        provider.always(fault)
        provider.always(Text("from the third"), model=third.partition(":")[2])

        answer = call(patchbay.get_llm(feature), "hi")

        assert answer.text == "from the third"
        assert receipt(answer)["endpoint"] == third
        asked = list(dict.fromkeys(request.model for request in provider.requests))
        assert asked == [one.partition(":")[2] for one in (first, second, third)]
