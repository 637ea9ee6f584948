"""Every parameter of Chat Completions that OpenAI's SDK knows is served, accepted, left out and named, or refused."""

from __future__ import annotations

import pytest
from openai.types.chat import completion_create_params as params
from openai.types.chat.chat_completion_assistant_message_param import ChatCompletionAssistantMessageParam
from openai.types.chat.chat_completion_content_part_param import ChatCompletionContentPartParam
from openai.types.chat.chat_completion_content_part_refusal_param import (
    ChatCompletionContentPartRefusalParam,
)
from openai.types.chat.chat_completion_message_param import ChatCompletionMessageParam
from openai.types.chat.chat_completion_message_tool_call_union_param import (
    ChatCompletionMessageToolCallUnionParam,
)
from openai.types.chat.chat_completion_tool_choice_option_param import ChatCompletionToolChoiceOptionParam
from openai.types.chat.chat_completion_tool_union_param import ChatCompletionToolUnionParam

from backend.wires.openai.chat import ChatWire

from .chat_parameters import NECESSARY, OUR_OWN, ROWS
from .parameters import Row, check, fates_of, fields_of, kinds_of, named, told_by_the_page


@pytest.mark.parametrize("row", named(ROWS))
def test_a_parameter_becomes_what_its_row_says(row: Row) -> None:
    check(ChatWire(), NECESSARY, row)


def test_what_the_sdk_knows_has_a_row() -> None:
    of_messages = {"role", "content", "name"}

    assert {row.name for row in ROWS} - OUR_OWN == {
        *fields_of(params.CompletionCreateParamsStreaming),
        *kinds_of(params.ResponseFormat, "response_format"),
        *kinds_of(ChatCompletionToolUnionParam, "tool"),
        *kinds_of(ChatCompletionToolChoiceOptionParam, "tool_choice"),
        *kinds_of(ChatCompletionMessageParam, "role", "role"),
        *{f"assistant: {name}" for name in fields_of(ChatCompletionAssistantMessageParam) - of_messages},
        *kinds_of(ChatCompletionMessageToolCallUnionParam, "call"),
        *kinds_of(ChatCompletionContentPartParam | ChatCompletionContentPartRefusalParam, "part"),
    }


def test_the_page_tells_what_becomes_of_each() -> None:
    assert told_by_the_page("Chat Completions") == fates_of(ROWS)
