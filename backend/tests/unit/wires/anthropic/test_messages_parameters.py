"""Every parameter of the Messages API that Anthropic's SDK knows is served, accepted, left out and named, or refused."""

from __future__ import annotations

import warnings
from typing import Any, get_type_hints

import pytest
from anthropic.types import beta, message_create_params
from anthropic.types.beta import message_count_tokens_params
from anthropic.types.beta import message_create_params as beta_params

from backend.tests.unit.wires.parameters import (
    Row,
    check,
    fates_of,
    fields_of,
    kinds_of,
    named,
    told_by_the_page,
)
from backend.wires.anthropic.messages import MessagesWire
from backend.wires.anthropic.messages_request import parse_count_tokens_request
from backend.wires.faults import RequestFaultError

from .messages_parameters import NECESSARY, OF_A_HEADER, OLDER, ROWS


def _sources(block: Any) -> Any:
    return get_type_hints(block)["source"]


@pytest.mark.parametrize("row", named(ROWS))
def test_a_parameter_becomes_what_its_row_says(row: Row) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pydantic's would show what the client sent
        check(MessagesWire(), NECESSARY, row)


@pytest.mark.parametrize("row", named(ROWS))
def test_a_count_is_refused_what_an_answer_is_and_nothing_else(row: Row) -> None:
    try:
        parse_count_tokens_request({**NECESSARY, **row.more})
    except RequestFaultError:
        assert row.fate == "refused"
    else:
        assert row.fate != "refused"


def test_what_the_sdk_knows_has_a_row() -> None:
    assert {row.name for row in ROWS} - OLDER == {
        *fields_of(message_create_params.MessageCreateParamsStreaming),
        *fields_of(beta_params.MessageCreateParamsStreaming),
        *fields_of(message_count_tokens_params.MessageCountTokensParams),
        *fields_of(beta.BetaOutputConfigParam, "output_config."),
        *fields_of(beta.BetaToolParam, "tool."),
        *kinds_of(beta.BetaThinkingConfigParam, "thinking"),
        *kinds_of(beta.BetaToolUnionParam, "tool"),
        *kinds_of(beta.BetaToolChoiceParam, "tool_choice"),
        *kinds_of(beta.BetaMessageParam, "role", "role"),
        *kinds_of(beta.BetaContentBlockParam, "block"),
        *kinds_of(
            _sources(beta.BetaImageBlockParam) | _sources(beta.BetaRequestDocumentBlockParam), "source"
        ),
    } - OF_A_HEADER - OLDER


def test_the_page_tells_what_becomes_of_each() -> None:
    assert told_by_the_page("Messages") == fates_of(ROWS)
