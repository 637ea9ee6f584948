"""A history in normal form: one notation, one result for each call, and nothing lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from backend.utils.llm.needs import prepare_history_and_needs
from backend.utils.llm.options import NO_OPTIONS
from backend.utils.llm.providers import CallSettings
from backend.utils.llm.providers.content_blocks import to_standard_blocks
from backend.utils.llm.providers.history import NO_RESULT, normalize_history

if TYPE_CHECKING:
    from collections.abc import Sequence

PNG = "iVBORw0KGgo="
PICTURE = {"type": "image", "base64": PNG, "mime_type": "image/png"}
PDF = {"type": "file", "base64": "JVBERi0=", "mime_type": "application/pdf"}


def call(number: str | None = "c1", name: str = "look", **args: Any) -> dict[str, Any]:
    return {"name": name, "args": args, "id": number, "type": "tool_call"}


def kinds(messages: Sequence[BaseMessage]) -> list[str]:
    return [message.type for message in messages]


def test_plain_texts_are_in_normal_form_as_they_are() -> None:
    messages = [SystemMessage("be brief"), HumanMessage("hi"), AIMessage("yes?"), HumanMessage("go on")]

    assert prepare_history_and_needs(messages, CallSettings(NO_OPTIONS))[0] is messages
    assert normalize_history(messages) == messages


@pytest.mark.parametrize(
    ("role", "kind"),
    [("developer", "system"), ("System", "system"), ("model", "ai"), ("assistant", "ai"), ("user", "human")],
)
def test_a_role_that_is_a_text_becomes_a_kind_of_message(role: str, kind: str) -> None:
    (message,) = normalize_history([ChatMessage(content="hi", role=role)])

    assert (message.type, message.content, message.name) == (kind, "hi", None)


def test_who_has_a_role_of_their_own_is_a_user_of_that_name() -> None:
    (message,) = normalize_history([ChatMessage(content="hi", role="critic")])

    assert (message.type, message.name) == ("human", "critic")


@pytest.mark.parametrize(
    "block",
    [
        PICTURE,
        {"type": "image", "source_type": "base64", "data": PNG, "mime_type": "image/png"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        {"type": "image_url", "image_url": f"data:image/png;base64,{PNG}"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
        {"type": "media", "mime_type": "image/png", "data": PNG},
        {"type": "image", "base64": PNG},
        {"inline_data": {"mime_type": "image/png", "data": PNG}},
        {"inlineData": {"mimeType": "image/png", "data": PNG}},
        {"image": {"format": "png", "source": {"bytes": b"\x89PNG\r\n\x1a\n"}}},
        {"type": "non_standard", "value": {"type": "media", "mime_type": "image/png", "data": PNG}},
    ],
)
def test_a_picture_is_one_block_in_whatever_notation(block: dict[str, Any]) -> None:
    assert to_standard_blocks([block]) == [PICTURE]


@pytest.mark.parametrize(
    "block",
    [
        PDF,
        {"type": "file", "source_type": "base64", "data": "JVBERi0=", "mime_type": "application/pdf"},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0="}},
        {"type": "input_file", "file_data": "data:application/pdf;base64,JVBERi0="},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
        },
        {"type": "media", "mime_type": "application/pdf", "data": "JVBERi0="},
        {"document": {"format": "pdf", "source": {"bytes": b"%PDF-"}}},
    ],
)
def test_a_document_is_one_block_in_whatever_notation(block: dict[str, Any]) -> None:
    assert to_standard_blocks([block]) == [PDF]


def test_an_unknown_block_is_kept_as_it_came() -> None:
    block = {"type": "hologram", "data": "x"}

    assert to_standard_blocks([block]) == [{"type": "non_standard", "value": block}]


def test_a_result_stands_behind_its_call_whatever_came_between() -> None:
    found = normalize_history(
        [
            HumanMessage("hi"),
            AIMessage("", tool_calls=[call("a"), call("b")]),
            ToolMessage("of b", tool_call_id="b"),
            HumanMessage("hurry"),
            ToolMessage("of a", tool_call_id="a"),
        ]
    )

    assert kinds(found) == ["human", "ai", "tool", "tool", "human"]
    assert [message.content for message in found[2:4]] == ["of a", "of b"]


def test_an_unanswered_tool_call_gets_a_result_that_says_there_is_none() -> None:
    found = normalize_history([HumanMessage("hi"), AIMessage("", tool_calls=[call()]), HumanMessage("go on")])

    assert kinds(found) == ["human", "ai", "tool", "human"]
    assert found[2].content == NO_RESULT


def test_a_result_without_its_call_becomes_a_users_message() -> None:
    found = normalize_history([HumanMessage("hi"), ToolMessage("sunny", tool_call_id="gone", name="look")])

    assert kinds(found) == ["human", "human"]
    assert found[1].text == "Result of the tool look:sunny"


def test_calls_of_one_id_get_ids_of_their_own_and_keep_their_results() -> None:
    history = [
        HumanMessage("hi"),
        AIMessage("", tool_calls=[call("0")]),
        ToolMessage("one", tool_call_id="0"),
        AIMessage("", tool_calls=[call("0"), call("0")]),
        ToolMessage("two", tool_call_id="0"),
        ToolMessage("three", tool_call_id="0"),
    ]

    found = normalize_history(history)

    calls = [one["id"] for message in found if isinstance(message, AIMessage) for one in message.tool_calls]
    results = [
        (message.tool_call_id, message.content) for message in found if isinstance(message, ToolMessage)
    ]
    assert len(set(calls)) == 3
    assert results == list(zip(calls, ["one", "two", "three"], strict=True))


def test_a_call_without_an_id_gets_one_and_keeps_its_result() -> None:
    found = normalize_history(
        [HumanMessage("hi"), AIMessage("", tool_calls=[call(None)]), ToolMessage("sunny", tool_call_id="c9")]
    )

    assert isinstance(found[1], AIMessage)
    assert isinstance(found[2], ToolMessage)
    assert (found[2].tool_call_id, found[2].content) == (found[1].tool_calls[0]["id"], "sunny")


def test_a_call_of_2023_is_a_call_with_its_result() -> None:
    old = AIMessage("", additional_kwargs={"function_call": {"name": "look", "arguments": '{"a": 1}'}})

    found = normalize_history([HumanMessage("hi"), old, FunctionMessage(content="sunny", name="look")])

    assert isinstance(found[1], AIMessage)
    assert found[1].tool_calls[0]["args"] == {"a": 1}
    assert kinds(found) == ["human", "ai", "tool"]


def test_a_call_that_is_no_json_stays_a_call_and_shows_what_the_model_wrote() -> None:
    wrong = AIMessage(
        "", invalid_tool_calls=[{"name": "look", "args": '{"a":', "id": "c1", "error": "no JSON"}]
    )

    found = normalize_history([HumanMessage("hi"), wrong, ToolMessage("that was no JSON", tool_call_id="c1")])

    assert isinstance(found[1], AIMessage)
    assert found[1].tool_calls[0]["args"] == {"INVALID_JSON": '{"a":'}
    assert found[2].content == "that was no JSON"


def test_anthropics_results_in_a_users_turn_are_results() -> None:
    used = AIMessage([{"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}}])
    told = HumanMessage([{"type": "tool_result", "tool_use_id": "t1", "content": "sunny"}])

    found = normalize_history([HumanMessage("hi"), used, told])

    assert kinds(found) == ["human", "ai", "tool"]


def test_empty_turns_are_left_out_and_an_empty_history_says_something() -> None:
    assert kinds(normalize_history([HumanMessage("a"), AIMessage(""), HumanMessage("b")])) == [
        "human",
        "human",
    ]
    assert kinds(normalize_history([HumanMessage(" ")])) == ["human"]
    assert normalize_history([HumanMessage(" ")])[0].text.strip()


@pytest.mark.parametrize(
    "said",
    [
        AIMessage("so", additional_kwargs={"reasoning_content": "hm"}),
        AIMessage([{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "so"}]),
        AIMessage([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "so"}]),
        AIMessage([{"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}, "so"]),
        AIMessage([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, "so"]),
    ],
)
def test_thoughts_are_one_block_in_whatever_notation(said: AIMessage) -> None:
    (found,) = normalize_history([said])

    assert found.content == [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "so"}]


def test_what_a_system_shows_is_shown_by_the_user() -> None:
    found = normalize_history(
        [SystemMessage([{"type": "text", "text": "look"}, PICTURE]), HumanMessage("hi")]
    )

    assert [(message.type, message.content) for message in found] == [
        ("system", "look"),
        ("human", [PICTURE]),
        ("human", "hi"),
    ]
