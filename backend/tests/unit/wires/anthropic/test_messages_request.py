"""Requests of the Messages API: what clients send, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from backend.tests.unit.wires.client_requests import CLIENTS, requests_of
from backend.utils.llm.options import Options
from backend.wires.anthropic.messages_request import parse_count_tokens_request, parse_messages_request
from backend.wires.estimates import estimate_prompt_tokens
from backend.wires.faults import InvalidRequestError

SPEAKERS = [client for client in CLIENTS if requests_of(client)[0].path == "/v1/messages"]
KINDS = [
    *(
        "text",
        "image",
        "document",
        "thinking",
        "redacted_thinking",
        "tool_use",
        "tool_result",
        "search_result",
    ),
    *(
        "server_tool_use",
        "web_search_tool_result",
        "image_url",
        "input_audio",
        "file",
        "reasoning",
        "of no kind",
    ),
]
FIELDS = [
    *("text", "source", "data", "media_type", "url", "type", "thinking", "signature", "id", "name", "input"),
    *(
        "tool_use_id",
        "content",
        "is_error",
        "title",
        "cache_control",
        "image_url",
        "file_id",
        "base64",
        "summary",
    ),
]
USER = {"role": "user", "content": "Hello?"}
BODY: dict[str, Any] = {"model": "chat", "max_tokens": 100, "messages": [USER]}
TOOL = {"name": "look_up", "description": "Looks up.", "input_schema": {"type": "object"}}


def refusal(**more: Any) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        parse_messages_request({**BODY, **more})
    return caught.value


@pytest.mark.parametrize("client", SPEAKERS)
def test_what_a_real_client_sends_is_read(client: str) -> None:
    question, answered = (parse_messages_request(request.body).completion for request in requests_of(client))

    assert question.model == "assistant"
    assert question.streams
    assert [tool["function"]["name"] for tool in question.tools]
    assert len(answered.messages) >= len(question.messages) + 2
    assert estimate_prompt_tokens(answered) > estimate_prompt_tokens(question)


def test_claude_codes_request_is_understood() -> None:
    body = requests_of("claude-code")[0].body

    read = parse_messages_request(body)

    asked = read.completion
    assert (read.keeps_thoughts, read.tells_thoughts) == (True, False)
    assert asked.options == Options(max_output_tokens=32_000, effort="high")
    assert [type(message) for message in asked.messages] == [SystemMessage, HumanMessage, SystemMessage]
    assert asked.messages[0].content[1]["cache_control"] == {"type": "ephemeral"}
    assert asked.ignored == ["context_management"]
    assert "user_id" in asked.metadata


def test_system_is_a_text_or_blocks() -> None:
    text = parse_messages_request({**BODY, "system": "Be brief."}).completion.messages
    blocks = parse_messages_request(
        {**BODY, "system": [{"type": "text", "text": "Be brief."}]}
    ).completion.messages

    assert text == [SystemMessage("Be brief."), HumanMessage("Hello?")]
    assert blocks[0] == SystemMessage([{"type": "text", "text": "Be brief."}])


def test_options_stops_and_schema_are_taken_over() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    body = {
        **BODY,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop_sequences": ["END"],
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
    }

    asked = parse_messages_request(body).completion

    assert asked.options == Options(max_output_tokens=100, temperature=0.5, top_p=0.9)
    assert asked.stop == ["END"]
    assert asked.response_format is not None
    assert asked.response_format["json_schema"]["schema"] == schema


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        ({"type": "enabled", "budget_tokens": 1024}, "low"),
        ({"type": "enabled", "budget_tokens": 10_000}, "medium"),
        ({"type": "enabled", "budget_tokens": 32_000}, "high"),
        ({"type": "disabled"}, "none"),
        ({"type": "adaptive"}, None),
    ],
)
def test_a_budget_of_thoughts_is_an_effort(thinking: dict[str, Any], effort: str | None) -> None:
    read = parse_messages_request({**BODY, "thinking": thinking})

    assert read.completion.options.effort == effort
    assert read.tells_thoughts == (thinking["type"] != "disabled")


@pytest.mark.parametrize(
    ("choice", "wanted", "parallel"),
    [
        ({"type": "auto"}, "auto", None),
        ({"type": "any"}, "required", None),
        ({"type": "none"}, "none", None),
        ({"type": "tool", "name": "look_up"}, "look_up", None),
        ({"type": "auto", "disable_parallel_tool_use": True}, "auto", False),
    ],
)
def test_a_choice_of_tools(choice: dict[str, Any], wanted: str, parallel: bool | None) -> None:  # noqa: FBT001
    asked = parse_messages_request({**BODY, "tools": [TOOL], "tool_choice": choice}).completion

    assert (asked.tool_choice, asked.parallel_tool_calls) == (wanted, parallel)


def test_tools_that_anthropic_runs_are_left_out_and_named() -> None:
    hosted = {"type": "web_search_20260209", "name": "web_search"}
    own = {**TOOL, "type": "custom", "strict": True, "cache_control": {"type": "ephemeral"}}

    asked = parse_messages_request({**BODY, "tools": [hosted, own], "top_k": 5, "bad\nname": 1}).completion

    assert asked.tools == [
        {
            "type": "function",
            "function": {
                "name": "look_up",
                "description": "Looks up.",
                "parameters": {"type": "object"},
                "strict": True,
            },
            "cache_control": {"type": "ephemeral"},
        }
    ]
    assert asked.ignored == ["top_k", "bad?name", "tools.web_search_20260209"]


def test_thoughts_that_went_to_a_client_come_back_for_their_provider() -> None:
    from backend.utils.llm.providers.ask import REASONING_KEY
    from backend.wires.anthropic.thoughts import make_redacted_thinking_block

    items = [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}]
    said = [
        {"type": "thinking", "thinking": "Hm.", "signature": ""},
        {"type": "tool_use", "id": "a", "name": "look_up", "input": {}},
        make_redacted_thinking_block(items, {"endpoint": "anthropic:claude-sonnet-5-5"}),
    ]

    (_, message) = parse_messages_request(
        {**BODY, "messages": [USER, {"role": "assistant", "content": said}]}
    )[0].messages

    assert isinstance(message, AIMessage)
    assert message.content == said[:2]
    assert message.additional_kwargs[REASONING_KEY] == items
    assert message.response_metadata["receipt"] == {"endpoint": "anthropic:claude-sonnet-5-5"}


@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "Hm.", "signature": "of Anthropic"},
        {"type": "redacted_thinking", "data": "of Anthropic"},
    ],
    ids=["signed", "encrypted"],
)
def test_thoughts_that_are_not_of_this_service_are_anthropics_alone(block: dict[str, Any]) -> None:
    from backend.utils.llm.providers.turns import can_provider_read_thoughts

    said = {"role": "assistant", "content": [block, {"type": "text", "text": "Hi."}]}

    (_, message) = parse_messages_request({**BODY, "messages": [USER, said]}).completion.messages

    assert can_provider_read_thoughts(message, "anthropic", "anthropic")
    assert not can_provider_read_thoughts(message, "google_genai", "gemini")


@pytest.mark.parametrize(
    "data", ["patchbay:", "patchbay:%%", "patchbay:bnVsbA==", "patchbay:eyJpdGVtcyI6IDF9", "x"]
)
def test_what_is_none_of_our_thoughts_stays_as_it_is(data: str) -> None:
    block = {"type": "redacted_thinking", "data": data}

    (_, message) = parse_messages_request(
        {**BODY, "messages": [USER, {"role": "assistant", "content": [block]}]}
    ).completion.messages

    assert message.content == [block]
    assert not message.additional_kwargs


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "100"}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages.0.content.0.type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
            "messages.0.content.0.image.source",
        ),
        ({"temperature": 3}, "temperature"),
        ({"tools": [{"name": "look_up"}]}, "tools.0.input_schema"),
        ({"tools": [{"input_schema": {}}]}, "tools.0.name"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "other"}}, "tool_choice"),
        ({"thinking": {"type": "sometimes"}}, "thinking.type"),
    ],
)
def test_a_wrong_field_is_named(more: dict[str, Any], param: str) -> None:
    error = refusal(**more)

    assert (error.fault.param or "").startswith(param)
    assert error.fault.message.startswith(param)
    assert error.fault.status == 400


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["base64", "url", "AAAA"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3),
    max_leaves=8,
)
BLOCKS = st.builds(
    lambda kind, junk: {**junk, "type": kind},
    st.sampled_from(KINDS),
    st.dictionaries(st.sampled_from(FIELDS), JUNK),
)


@given(role=st.sampled_from(["user", "assistant", "system"]), blocks=st.lists(BLOCKS, max_size=4))
def test_whatever_is_in_a_block_it_is_read_or_refused(role: str, blocks: list[dict[str, Any]]) -> None:
    try:
        read = parse_messages_request({**BODY, "messages": [{"role": role, "content": blocks}]})
    except InvalidRequestError as error:
        told = error.fault.message
    else:
        told = f"messages.0. has {estimate_prompt_tokens(read.completion)} tokens"

    assert told.startswith("messages.0.")


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    error = refusal(
        max_tokens="sk-canary-0123456789", messages=[{"role": "sk-canary-0123456789", "content": ""}]
    )

    assert "sk-canary" not in error.fault.message


def test_tokens_are_counted_of_a_body_without_max_tokens() -> None:
    short = parse_count_tokens_request({"model": "chat", "messages": [USER]})
    with_tools = parse_count_tokens_request(
        {"model": "chat", "messages": [USER], "tools": [TOOL], "system": "Be brief."}
    )

    assert estimate_prompt_tokens(short) == 1
    assert estimate_prompt_tokens(with_tools) > 20
