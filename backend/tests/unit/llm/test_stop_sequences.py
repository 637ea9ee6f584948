"""Which stop sequence ended an answer: told where its provider tells it, or where it was met here; of others nothing is made up.

Anthropic tells it with the reason to stop (https://platform.claude.com/docs/en/api/messages/create), vLLM in a field ``stop_reason`` of
the choice (https://github.com/vllm-project/vllm/pull/2976), a number if it was a token. OpenAI and Gemini do not tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from backend.utils.llm.providers.answer import to_ai_message
from backend.utils.llm.providers.answer_stream import ChunkBuilder
from backend.utils.llm.providers.anthropic_api import AnthropicAnswerReader
from backend.utils.llm.providers.ask import STOP_KEY
from backend.utils.llm.providers.chat_completions import ChatCompletionsAnswerReader
from backend.utils.llm.providers.responses_api import ResponsesAnswerReader
from backend.utils.llm.transport import HOUSE

if TYPE_CHECKING:
    from collections.abc import Sequence

ANTHROPICS = {"stop_reason": "stop_sequence", "stop_sequence": "END"}


def whole(reader: Any, document: dict[str, Any]) -> object:
    return to_ai_message(reader.parse_answer(document), HOUSE).response_metadata.get(STOP_KEY)


def streamed(reader: Any, *events: dict[str, Any]) -> list[object]:
    """What each chunk tells that tells one."""
    stream, chunks = ChunkBuilder(HOUSE), []
    for event in events:
        if (piece := reader.parse_event(event)) is not None:
            stream.add_event(piece)
        chunks.append(stream.take_chunk())
    chunks.append(stream.flush())
    metadata = [chunk.message.response_metadata for chunk in chunks if chunk is not None]
    return [told[STOP_KEY] for told in metadata if STOP_KEY in told]


def anthropics(end: dict[str, Any], text: str = "One. ") -> list[dict[str, Any]]:
    return [
        {"type": "message_start", "message": {"id": "msg_1", "model": "claude", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        {"type": "message_delta", "delta": end},
        {"type": "message_stop"},
    ]


@pytest.mark.parametrize(
    ("asked", "end", "told"),
    [
        (["END"], ANTHROPICS, "END"),
        (["other"], ANTHROPICS, None),
        (None, ANTHROPICS, None),
        (["END"], {"stop_reason": "end_turn", "stop_sequence": None}, None),
        (["END"], {"stop_reason": "stop_sequence", "stop_sequence": ["END"]}, None),
    ],
    ids=["asked for", "not asked for", "nothing asked for", "an end of its own", "no text"],
)
def test_anthropic_tells_the_sequence_that_was_asked_for(
    asked: Sequence[str] | None, end: dict[str, Any], told: str | None
) -> None:
    document = {"content": [{"type": "text", "text": "One. "}], **end}

    assert whole(AnthropicAnswerReader(asked), document) == told
    assert streamed(AnthropicAnswerReader(asked), *anthropics(end)) == ([] if told is None else [told])


def test_a_blank_sequence_that_anthropic_does_not_take_is_told_where_it_was_met() -> None:
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    document = {"content": [{"type": "text", "text": "One.\n\nTwo."}], **end}

    assert whole(AnthropicAnswerReader(["\n\n"]), document) == "\n\n"
    assert streamed(AnthropicAnswerReader(["\n\n"]), *anthropics(end, "One.\n\nTwo.")) == ["\n\n"]


@pytest.mark.parametrize(
    ("stop_reason", "told"), [("END", "END"), ("other", None), (128_009, None), (None, None)]
)
def test_a_server_that_tells_it_beside_the_finish_reason_is_heard(
    stop_reason: object, told: str | None
) -> None:
    end = {"finish_reason": "stop", "stop_reason": stop_reason}
    document = {"choices": [{"message": {"content": "One. "}, **end}]}
    events: list[dict[str, Any]] = [
        {"choices": [{"delta": {"content": "One. "}}]},
        {"choices": [{"delta": {}, **end}]},
    ]

    assert whole(ChatCompletionsAnswerReader(["END"]), document) == told
    assert streamed(ChatCompletionsAnswerReader(["END"]), *events) == ([] if told is None else [told])


def test_responses_has_no_sequences_so_they_are_told_where_they_were_met() -> None:
    said = {"type": "message", "content": [{"type": "output_text", "text": "One. END Two."}]}
    response = {"status": "completed", "output": [said]}
    events: list[dict[str, Any]] = [
        {"type": "response.output_text.delta", "output_index": 0, "delta": "One. E"},
        {"type": "response.output_text.delta", "output_index": 0, "delta": "ND Two."},
        {"type": "response.completed", "response": response},
    ]

    assert whole(ResponsesAnswerReader(["Two", "END"]), response) == "END"
    assert streamed(ResponsesAnswerReader(["Two", "END"]), *events) == ["END"]
    assert whole(ResponsesAnswerReader(["Three"]), response) is None


def test_a_sequence_that_is_told_twice_is_told_once() -> None:
    *events, end, over = anthropics(ANTHROPICS)

    assert streamed(AnthropicAnswerReader(["END"]), *events, end, end, over) == ["END"]


def test_a_text_that_was_cut_here_has_ended_though_its_provider_went_on_to_the_longest_length() -> None:
    end = {"stop_reason": "max_tokens", "stop_sequence": None}
    document = {"content": [{"type": "text", "text": "One.\n\nTwo."}], **end}
    item = {"type": "message", "content": [{"type": "output_text", "text": "One. END Two."}]}
    response = {
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "output": [item],
    }

    answers = (
        AnthropicAnswerReader(["\n\n"]).parse_answer(document),
        ResponsesAnswerReader(["END"]).parse_answer(response),
    )

    assert [answer.reason for answer in answers] == ["stop", "stop"]


def test_what_cut_the_text_here_is_told_and_not_what_its_provider_met_later() -> None:
    end = {"stop_reason": "stop_sequence", "stop_sequence": "END"}
    document = {"content": [{"type": "text", "text": "One.\n\nTwo."}], **end}

    assert whole(AnthropicAnswerReader(["END", "\n\n"]), document) == "\n\n"
