"""Anthropic's Messages API: how requests are worded, and what its answers and events mean."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel

from backend.utils.llm.errors import ConfigError, NoEndpointError, RejectedRequestError
from backend.utils.llm.providers.answer import to_ai_message
from backend.utils.llm.providers.answer_stream import ChunkBuilder
from backend.utils.llm.providers.anthropic_api import AnthropicAnswerReader
from backend.utils.llm.providers.ask import ProviderError
from backend.utils.llm.testing import Json, Raw, Status, Text, ToolCalls, Usage
from backend.utils.llm.transport import HOUSE

if TYPE_CHECKING:
    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.testing import LoopbackProvider

    from .conftest import Make
    from .drivers import Driver

NEW, OLD = "anthropic:claude-opus-4-8", "anthropic:claude-haiku-4-5"
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n and so on").decode()
PDF = base64.b64encode(b"%PDF-1.7 and so on").decode()
MARK = {"type": "ephemeral"}


class City(BaseModel):
    """A city."""

    name: str


class Pages(BaseModel):
    """Has keys that nobody knows before."""

    pages: dict[str, int]


def look_up(city: str) -> str:
    """The forecast for a city."""
    return city


def sent(provider: LoopbackProvider) -> dict[str, Any]:
    return dict(provider.requests[-1].body)


@pytest.fixture
def patchbay(make: Make) -> Patchbay:
    return make(NEW)


# Requests ------------------------------------------------------------------------------------------------------------


class TestRequests:
    def test_a_request_has_its_headers_and_what_has_to_be_there(
        self, patchbay: Patchbay, provider: LoopbackProvider, call: Driver
    ) -> None:
        call(patchbay.get_llm("f"), [SystemMessage("Be brief."), HumanMessage("hi")])

        (request,) = provider.requests
        assert {
            name: request.headers.get(name) for name in ("anthropic-version", "x-api-key", "authorization")
        } == {
            "anthropic-version": "2023-06-01",
            "x-api-key": "house-key-of-anthropic",
            "authorization": None,
        }
        assert {name: one for name, one in request.body.items() if name != "stream"} == {
            "model": "claude-opus-4-8",
            "max_tokens": 128_000,
            "system": "Be brief.",
            "messages": [{"role": "user", "content": "hi"}],
        }

    @pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
    def test_an_address_may_end_with_the_version(
        self, make: Make, provider: LoopbackProvider, path: str
    ) -> None:
        row = f'[providers.there]\napi = "anthropic"\nbase_url = "{provider.origin}{path}"\n'

        make("there:claude-opus-4-8", row).get_llm("f").invoke("hi")

        assert provider.requests[-1].path == "/v1/messages"

    @pytest.mark.parametrize(
        ("choice", "parallel", "worded"),
        [
            (None, None, None),
            ("auto", None, {"type": "auto"}),
            ("any", None, {"type": "any"}),
            ("none", None, {"type": "none"}),
            ("none", False, {"type": "none"}),
            ("look_up", None, {"type": "tool", "name": "look_up"}),
            (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
            ("any", False, {"type": "any", "disable_parallel_tool_use": True}),
            ("any", True, {"type": "any"}),
        ],
    )
    def test_which_tool_is_called_is_said(
        self, patchbay: Patchbay, provider: LoopbackProvider, choice: Any, parallel: Any, worded: Any
    ) -> None:
        patchbay.get_llm("f").bind_tools([look_up], tool_choice=choice, parallel_tool_calls=parallel).invoke(
            "hi"
        )

        assert sent(provider).get("tool_choice") == worded

    @pytest.mark.parametrize(
        ("endpoint", "options", "thinking", "output"),
        [
            (NEW, {"effort": "high"}, {"type": "adaptive", "display": "summarized"}, {"effort": "high"}),
            (NEW, {"effort": "none"}, None, {"effort": "low"}),
            ("anthropic:claude-opus-4-6", {"effort": "xhigh"}, None, {"effort": "high"}),
            (OLD, {"effort": "high"}, None, None),
            (OLD, {"thinking_budget": 2000}, {"type": "enabled", "budget_tokens": 2000}, None),
            (OLD, {"thinking_budget": 1}, {"type": "enabled", "budget_tokens": 1024}, None),
            (OLD, {"thinking_budget": 0}, {"type": "disabled"}, None),
            ("anthropic:claude-opus-4-6", {"thinking_budget": -1}, {"type": "adaptive"}, None),
        ],
    )
    def test_thinking_is_asked_for_as_the_model_takes_it(
        self, make: Make, provider: LoopbackProvider, endpoint: str, options: Any, thinking: Any, output: Any
    ) -> None:
        make(endpoint).get_llm("f").invoke("hi", **options)

        assert (sent(provider).get("thinking"), sent(provider).get("output_config")) == (thinking, output)

    def test_no_thinking_stands_beside_a_tool_that_has_to_be_called(
        self, patchbay: Patchbay, provider: LoopbackProvider
    ) -> None:
        patchbay.get_llm("f").bind_tools([look_up], tool_choice="any").invoke("hi", effort="high")

        assert "thinking" not in sent(provider)

    @pytest.mark.parametrize(
        "option", ["seed = 1", "logprobs = true", 'cache_retention = "24h"', "thinking_budget = 9"]
    )
    def test_what_a_model_does_not_take_is_refused_by_the_table(self, make: Make, option: str) -> None:
        with pytest.raises(ConfigError, match=option.partition(" ")[0]):
            make(NEW, f"[features.f]\noptions = {{ {option} }}")

    def test_a_temperature_is_at_most_1(self, make: Make) -> None:
        with pytest.raises(ConfigError, match="no temperature above 1"):
            make(OLD, "[features.f]\noptions = { temperature = 1.5 }")

    def test_a_schema_is_enforced(self, patchbay: Patchbay, provider: LoopbackProvider) -> None:
        provider.always(Json({"name": "Rom"}))

        assert patchbay.get_llm("f").with_structured_output(City).invoke("hi") == City(name="Rom")
        assert sent(provider)["output_config"]["format"] == {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "description": "A city.",
                "properties": {"name": {"type": "string"}},
                "required": ["name"],
                "additionalProperties": False,
            },
        }

    def test_a_schema_that_cannot_be_enforced_is_told(
        self, patchbay: Patchbay, provider: LoopbackProvider
    ) -> None:
        provider.always(Json({"pages": {"a": 1}}))

        patchbay.get_llm("f").with_structured_output(Pages).invoke("hi")

        assert "output_config" not in sent(provider)
        assert '"additionalProperties": {"type": "integer"}' in sent(provider)["system"]

    def test_words_to_stop_at_are_said_and_blanks_are_minded_here(
        self, patchbay: Patchbay, provider: LoopbackProvider, call: Driver
    ) -> None:
        provider.always(Text("one two\n\nthree END four"))

        answer = call(patchbay.get_llm("f").bind(stop=["\n\n", "END"]), "hi")

        assert sent(provider)["stop_sequences"] == ["END"]
        assert answer.text == "one two"

    def test_what_calls_share_is_marked_for_the_cache(self, make: Make, provider: LoopbackProvider) -> None:
        patchbay = make(NEW)

        patchbay.get_llm("f", cache_key="shared").invoke([SystemMessage("Long rules."), HumanMessage("hi")])

        assert sent(provider)["system"] == [{"type": "text", "text": "Long rules.", "cache_control": MARK}]

    def test_marks_of_the_product_go_out_as_they_are(
        self, patchbay: Patchbay, provider: LoopbackProvider
    ) -> None:
        marked = {"type": "text", "text": "Rules.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}

        patchbay.get_llm("f").invoke(
            [SystemMessage([marked]), HumanMessage([marked, {"type": "text", "text": "hi"}])]
        )

        assert sent(provider)["system"] == [marked]
        assert sent(provider)["messages"][0]["content"][0] == marked

    def test_pictures_and_documents_are_shown(self, patchbay: Patchbay, provider: LoopbackProvider) -> None:
        shown: list[Any] = [
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
            {"type": "image", "url": "https://pictures.invalid/a.png"},
            {"type": "file", "base64": PDF, "mime_type": "application/pdf", "filename": "a.pdf"},
        ]

        patchbay.get_llm("f").invoke([HumanMessage(shown)])

        assert sent(provider)["messages"][0]["content"] == [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
            {"type": "image", "source": {"type": "url", "url": "https://pictures.invalid/a.png"}},
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                "title": "a.pdf",
            },
        ]

    def test_what_it_cannot_hear_is_not_sent(self, patchbay: Patchbay, provider: LoopbackProvider) -> None:
        with pytest.raises(NoEndpointError):
            patchbay.get_llm("f").invoke(
                [HumanMessage([{"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"}])]
            )
        with pytest.raises(RejectedRequestError):
            patchbay.get_llm("f").invoke(
                [HumanMessage([{"type": "image", "base64": "AAAA", "mime_type": "image/tiff"}])]
            )
        assert provider.requests == ()


# Histories -----------------------------------------------------------------------------------------------------------


class TestHistories:
    CALLS = (
        {"name": "look_up", "args": {"city": "Rom"}, "id": "functions.look_up:0", "type": "tool_call"},
        {"name": "look_up", "args": {"city": "Bonn"}, "id": "toolu_1", "type": "tool_call"},
    )

    def test_a_picture_that_a_model_made_is_shown_by_the_user(
        self, patchbay: Patchbay, provider: LoopbackProvider
    ) -> None:
        made = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}

        patchbay.get_llm("f").invoke([HumanMessage("draw"), AIMessage([made]), HumanMessage("and now?")])

        _, said, shown = sent(provider)["messages"]
        assert said["content"] == "See the attachment."
        assert shown["content"] == [
            {"type": "text", "text": "From the assistant:"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
            {"type": "text", "text": "and now?"},
        ]

    def test_results_stand_first_in_one_message_after_their_calls(
        self, patchbay: Patchbay, provider: LoopbackProvider
    ) -> None:
        patchbay.get_llm("f").bind_tools([look_up]).invoke(
            [
                HumanMessage("hi"),
                AIMessage("I look.", tool_calls=[*self.CALLS]),
                ToolMessage("rain", tool_call_id="toolu_1"),
                ToolMessage("broken", tool_call_id="functions.look_up:0", status="error"),
                HumanMessage("and now?"),
            ]
        )

        _, said, results = sent(provider)["messages"]
        first, second = (block["id"] for block in said["content"][1:])
        assert [block["type"] for block in said["content"]] == ["text", "tool_use", "tool_use"]
        assert (first.isidentifier(), second) == (True, "toolu_1")
        assert results["content"] == [
            {"type": "tool_result", "tool_use_id": first, "content": "broken", "is_error": True},
            {"type": "tool_result", "tool_use_id": second, "content": "rain"},
            {"type": "text", "text": "and now?"},
        ]

    def test_a_model_neither_begins_nor_ends_and_nothing_is_empty(
        self, patchbay: Patchbay, provider: LoopbackProvider
    ) -> None:
        patchbay.get_llm("f").invoke(
            [
                AIMessage("Hello."),
                HumanMessage("hi"),
                HumanMessage(" "),
                HumanMessage("you"),
                AIMessage("Yes. "),
            ]
        )

        messages = sent(provider)["messages"]
        assert [message["role"] for message in messages] == ["user", "assistant", "user", "assistant", "user"]
        assert messages[2]["content"] == [{"type": "text", "text": "hi"}, {"type": "text", "text": "you"}]

    def test_thoughts_go_back_to_who_thought_them_before_all_else(
        self, patchbay: Patchbay, provider: LoopbackProvider, call: Driver
    ) -> None:
        model = patchbay.get_llm("f").bind_tools([look_up])
        provider.script(ToolCalls((("look_up", {"city": "Rom"}),), usage=Usage(9, 9, reasoning_tokens=5)))
        answer = call(model, "hi")

        call(
            model, [HumanMessage("hi"), answer, ToolMessage("rain", tool_call_id=answer.tool_calls[0]["id"])]
        )

        thought, used = sent(provider)["messages"][1]["content"]
        assert answer.additional_kwargs["reasoning_content"] == thought["thinking"]
        assert (thought["type"], thought["signature"][:8], used["type"]) == (
            "thinking",
            "c2lnbmVk",
            "tool_use",
        )

    def test_thoughts_of_others_are_left_out(self, make: Make, provider: LoopbackProvider) -> None:
        made = make([NEW, "openai:gpt-5.1"])
        answer = AIMessage(
            "Yes.",
            additional_kwargs={"reasoning_content": "Hm."},
            response_metadata={"receipt": {"endpoint": "openai:gpt-5.1"}},
        )

        made.get_llm("f").invoke(["hi", answer, "go on"])

        assert sent(provider)["messages"][1] == {"role": "assistant", "content": "Yes."}

    def test_thoughts_as_anthropics_own_adapter_writes_them_go_back(
        self, patchbay: Patchbay, provider: LoopbackProvider
    ) -> None:
        blocks: list[str | dict[Any, Any]] = [
            {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "c2VjcmV0"},
            {"type": "text", "text": "Yes."},
        ]

        patchbay.get_llm("f").invoke(
            ["hi", AIMessage(blocks, response_metadata={"model_provider": "anthropic"}), "go on"]
        )

        assert sent(provider)["messages"][1]["content"] == blocks


# Answers -------------------------------------------------------------------------------------------------------------


def read(*events: dict[str, Any]) -> Any:
    """The message that the events of a stream make."""
    reader, stream = AnthropicAnswerReader(), ChunkBuilder(HOUSE)
    chunks = []
    for event in events:
        if (piece := reader.parse_event(event)) is not None:
            stream.add_event(piece)
        chunks.append(stream.take_chunk())
    chunks.append(stream.flush())
    first, *rest = [chunk.message for chunk in chunks if chunk is not None]
    return sum(rest, start=first)


START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "model": "claude-9",
        "content": [],
        "usage": {
            "input_tokens": 10,
            "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 1000,
            "output_tokens": 1,
        },
    },
}
# https://platform.claude.com/docs/en/build-with-claude/streaming: counts in message_delta are cumulative.
END = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn"},
    "usage": {"output_tokens": 30, "output_tokens_details": {"thinking_tokens": 20}},
}


def delta(**more: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": more}


class TestAnswers:
    def test_what_was_read_from_a_cache_counts_once_beside_the_rest(self) -> None:
        told = read(START, delta(type="text_delta", text="fine"), END).usage_metadata

        assert (told["input_tokens"], told["output_tokens"], told["total_tokens"]) == (1110, 30, 1140)
        assert told["input_token_details"] == {"cache_read": 100, "cache_creation": 1000}
        assert told["output_token_details"] == {"reasoning": 20}

    def test_counts_are_the_last_that_were_told_and_zeros_tell_nothing(self) -> None:
        end = {**END, "usage": {"input_tokens": 0, "cache_read_input_tokens": 200, "output_tokens": 30}}

        assert read(START, END, end).usage_metadata["input_tokens"] == 1210

    def test_signs_of_life_and_what_nobody_knows_say_nothing(self) -> None:
        told = read(
            START,
            {"type": "ping"},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            delta(type="text_delta", text="fi"),
            delta(type="citations_delta", citation={"cited_text": "x"}),
            {"type": "tomorrows_event", "index": 0},
            delta(type="text_delta", text="ne"),
            {"type": "content_block_stop", "index": 0},
            END,
            {"type": "message_stop"},
        )

        assert (told.text, told.response_metadata["model_name"]) == ("fine", "claude-9")

    def test_thoughts_come_in_pieces_with_one_signature(self) -> None:
        told = read(
            START,
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "thinking", "thinking": ""},
            },
            delta(type="thinking_delta", thinking="Let me "),
            delta(type="thinking_delta", thinking="think."),
            delta(type="signature_delta", signature="c2ln"),
            {
                "type": "content_block_start",
                "index": 1,
                "content_block": {"type": "redacted_thinking", "data": "eA=="},
            },
            {**delta(type="text_delta", text="fine"), "index": 2},
            END,
        )

        assert told.additional_kwargs["reasoning_content"] == "Let me think."
        assert told.additional_kwargs["reasoning_details"] == [
            {"type": "thinking", "index": 0, "thinking": "Let me think.", "signature": "c2ln"},
            {"type": "redacted_thinking", "index": 1, "data": "eA=="},
        ]

    # Servers of others tell the arguments at the start, and once more in pieces.
    @pytest.mark.parametrize("given", [{}, None, "", {"city": "Rom"}])
    def test_arguments_come_in_pieces_or_at_once(self, given: Any) -> None:
        block = {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": given}

        told = read(
            START,
            {"type": "content_block_start", "index": 0, "content_block": block},
            delta(type="input_json_delta", partial_json=""),
            delta(type="input_json_delta", partial_json='{"city": '),
            delta(type="input_json_delta", partial_json='"Rom"}'),
            {**END, "delta": {"stop_reason": "tool_use"}},
        )

        (call,) = told.tool_calls
        assert (call["name"], call["args"], call["id"]) == ("look_up", {"city": "Rom"}, "toolu_1")
        assert told.response_metadata["finish_reason"] == "tool_calls"

    @pytest.mark.parametrize(
        ("reason", "named"),
        [
            ("end_turn", "stop"),
            ("stop_sequence", "stop"),
            ("max_tokens", "length"),
            ("model_context_window_exceeded", "length"),
            ("tool_use", "tool_calls"),
            ("refusal", "content_filter"),
            ("pause_turn", "pause_turn"),
            ("tomorrows_reason", "tomorrows_reason"),
        ],
    )
    def test_reasons_to_stop_have_one_name_in_all_apis(self, reason: str, named: str) -> None:
        whole = {"content": [{"type": "text", "text": "x"}], "stop_reason": reason}

        assert (
            to_ai_message(AnthropicAnswerReader().parse_answer(whole), HOUSE).response_metadata[
                "finish_reason"
            ]
            == named
        )

    def test_an_error_event_is_an_error(self) -> None:
        event = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}

        with pytest.raises(ProviderError) as caught:
            AnthropicAnswerReader().parse_event(event)

        assert caught.value.body == event["error"]


@pytest.mark.parametrize(
    ("status", "category"),
    [
        (529, "server"),
        (429, "rate_limit"),
        (401, "credential"),
        (413, "context"),
        (504, "server"),
        (400, "rejected"),
    ],
)
def test_its_errors_are_understood(
    make: Make, provider: LoopbackProvider, call: Driver, status: int, category: str
) -> None:
    provider.always(Status(status))

    with pytest.raises(Exception, match="anthropic:") as caught:
        call(make(NEW, "[features.f]\nattempts = 1").get_llm("f"), "hi")

    (attempt,) = caught.value.attempts  # type: ignore[attr-defined]
    assert (attempt.status, attempt.category) == (status, category)


def test_a_limit_says_when_it_is_whole_again(make: Make, provider: LoopbackProvider) -> None:
    provider.always(
        Raw(
            429,
            '{"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down."}}',
            headers={"retry-after": "7", "request-id": "req_1"},
        )
    )

    with pytest.raises(Exception, match="anthropic:") as caught:
        make(NEW, "[features.f]\nattempts = 1\nwait = 0").get_llm("f").invoke("hi")

    assert caught.value.retry_after == pytest.approx(7)  # type: ignore[attr-defined]
