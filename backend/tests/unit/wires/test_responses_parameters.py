"""Every parameter of the Responses API that OpenAI's SDK knows is served, accepted, left out and named, or refused."""

from __future__ import annotations

import pytest
from openai.types.responses import response_create_params as params
from openai.types.responses.response_format_text_config_param import ResponseFormatTextConfigParam
from openai.types.responses.response_includable import ResponseIncludable
from openai.types.responses.response_input_content_param import ResponseInputContentParam
from openai.types.responses.response_input_item_param import ResponseInputItemParam
from openai.types.responses.response_output_message_param import Content
from openai.types.responses.response_text_config_param import ResponseTextConfigParam
from openai.types.responses.tool_param import ToolParam
from openai.types.shared_params import Reasoning

from backend.wires.openai.responses import ResponsesWire

from .parameters import Row, check, fates_of, fields_of, kinds_of, named, told_by_the_page, words_of
from .responses_parameters import NECESSARY, ROWS


@pytest.mark.parametrize("row", named(ROWS))
def test_a_parameter_becomes_what_its_row_says(row: Row) -> None:
    check(ResponsesWire(), NECESSARY, row)


def test_what_the_sdk_knows_has_a_row() -> None:
    assert {row.name for row in ROWS} == {
        *fields_of(params.ResponseCreateParamsStreaming),
        *fields_of(Reasoning, "reasoning."),
        *fields_of(ResponseTextConfigParam, "text."),
        *kinds_of(ResponseFormatTextConfigParam, "text.format"),
        *words_of(ResponseIncludable, "include"),
        *kinds_of(ToolParam, "tool"),
        *kinds_of(params.ToolChoice, "tool_choice"),
        *kinds_of(ResponseInputItemParam, "item"),
        *kinds_of(ResponseInputContentParam | Content, "part"),
    }


def test_the_page_tells_what_becomes_of_each() -> None:
    assert told_by_the_page("Responses") == fates_of(ROWS)
