"""A word with which a provider says why an answer ended means one thing over every API, and an unknown one nothing good."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages.ai import add_ai_message_chunks

from backend.utils.llm.answers import validate_answer
from backend.utils.llm.errors import InvalidOutputError, ProviderDownError, StreamInterruptedError
from backend.utils.llm.execution.streamed import check_stream_ended
from backend.utils.llm.failures import (
    FINISH_REASONS,
    BadAnswer,
    FailureCategory,
    interpret_finish_reason,
    to_chat_finish_reason,
)
from backend.utils.llm.providers.answer import to_ai_message
from backend.utils.llm.providers.answer_stream import ChunkBuilder
from backend.utils.llm.providers.chat_completions import ChatCompletionsAnswerReader
from backend.utils.llm.providers.gemini_api import GeminiAnswerReader
from backend.utils.llm.providers.responses_api import ResponsesAnswerReader
from backend.utils.llm.structured import schema_of
from backend.utils.llm.testing import Raw, Text
from backend.utils.llm.transport import HOUSE

from .drivers import STREAMS
from .samples import Person, receipt

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.messages import AIMessage, AIMessageChunk

    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.testing import LoopbackProvider

    from .conftest import Make
    from .drivers import Driver


OPENAI, GEMINI = "openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"
TEXT = "half an ans"


def chat(reason: str, kind: str, text: str = TEXT, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": reason, kind: {"role": "assistant", "content": text}, **more}
    return {"id": "1", "model": "m", "choices": [choice]}


def gemini(reason: str, kind: str, text: str = TEXT) -> dict[str, Any]:
    del kind
    parts = [{"text": text}] if text else []
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": reason, "index": 0}
    return {"candidates": [candidate], "modelVersion": "m"}


def responses(reason: str, kind: str, text: str = TEXT) -> dict[str, Any]:
    item = {"type": "message", "content": [{"type": "output_text", "text": text}]}
    status = {"status": "incomplete", "incomplete_details": {"reason": reason}}
    whole = {"id": "1", "model": "m", "output": [item] if text else [], **status}
    return {"type": "response.incomplete", "response": whole} if kind == "delta" else whole


READERS: dict[str, tuple[Callable[[], Any], Callable[..., dict[str, Any]]]] = {
    "chat": (ChatCompletionsAnswerReader, chat),
    "gemini": (GeminiAnswerReader, gemini),
    "responses": (ResponsesAnswerReader, responses),
}


@pytest.fixture(params=READERS)
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def whole(api: str, reason: str, text: str = TEXT) -> AIMessage:
    reader, said = READERS[api]
    return validate_answer(to_ai_message(reader().parse_answer(said(reason, "message", text)), HOUSE), None)


def streamed(api: str, reason: str, text: str = TEXT) -> AIMessage:
    reader, said = READERS[api]
    stream = ChunkBuilder(HOUSE)
    stream.add_event(reader().parse_event(said(reason, "delta", text)))
    chunks = [chunk.message for chunk in (stream.take_chunk(), stream.flush()) if chunk is not None]
    message: Any = add_ai_message_chunks(*chunks)  # type: ignore[arg-type]
    check_stream_ended(message)
    return message


def spelled(word: str) -> list[str]:
    return [word, word.upper()]


WORDS = [spelling for word in FINISH_REASONS for spelling in spelled(word)]


@pytest.mark.parametrize("read", [whole, streamed])
def test_every_word_means_the_same_over_every_api(api: str, read: Callable[..., AIMessage]) -> None:
    for word in WORDS:
        expected = interpret_finish_reason(word).category
        if expected in {None, FailureCategory.TRUNCATED}:
            if to_chat_finish_reason(word) is not None:
                assert read(api, word).response_metadata["finish_reason"] == to_chat_finish_reason(word)
            continue
        with pytest.raises(BadAnswer) as caught:
            read(api, word)
        assert caught.value.category is expected, word


@pytest.mark.parametrize("read", [whole, streamed])
def test_an_answer_that_was_cut_off_before_its_first_word_is_truncated(
    api: str, read: Callable[..., AIMessage]
) -> None:
    with pytest.raises(BadAnswer) as caught:
        read(api, "max_output_tokens", "")

    assert caught.value.category is FailureCategory.TRUNCATED


def test_an_object_that_was_cut_off_is_truncated(api: str) -> None:
    reader, said = READERS[api]
    message = to_ai_message(reader().parse_answer(said("max_tokens", "message", '{"name": "An')), HOUSE)

    with pytest.raises(BadAnswer) as caught:
        validate_answer(message, schema_of(Person))

    assert caught.value.category is FailureCategory.TRUNCATED


@pytest.mark.parametrize("arguments", ['{"city": "Ro', '{"city": "Rome"}'])
@pytest.mark.parametrize("kind", ["message", "delta"])
def test_a_call_that_was_cut_off_is_handed_on_only_if_it_is_complete(kind: str, arguments: str) -> None:
    call = {"id": "a", "index": 0, "function": {"name": "look", "arguments": arguments}}
    choice = {"index": 0, "finish_reason": "length", kind: {"content": None, "tool_calls": [call]}}
    document, fault = {"choices": [choice]}, None

    try:
        if kind == "message":
            validate_answer(to_ai_message(ChatCompletionsAnswerReader().parse_answer(document), HOUSE), None)
        else:
            stream = ChunkBuilder(HOUSE)
            stream.add_event(
                ChatCompletionsAnswerReader().parse_event(document) or pytest.fail("nothing was said")
            )
            made = stream.take_chunk()
            assert made is not None
            check_stream_ended(made.message)  # type: ignore[arg-type]
    except BadAnswer as error:
        fault = error.category

    assert fault is (None if arguments.endswith("}") else FailureCategory.TRUNCATED)


def streamed_call(arguments: str, reason: str = "tool_calls") -> AIMessageChunk:
    """What has come when a stream that called a tool has ended."""
    stream = ChunkBuilder(HOUSE)
    call = {"id": "a", "index": 0, "function": {"name": "look", "arguments": arguments}}
    for delta, why in (({"tool_calls": [call]}, None), ({}, reason)):
        choice = {"index": 0, "finish_reason": why, "delta": delta}
        stream.add_event(
            ChatCompletionsAnswerReader().parse_event({"choices": [choice]})
            or pytest.fail("nothing was said")
        )
    chunks = [chunk.message for chunk in (stream.take_chunk(), stream.flush()) if chunk is not None]
    return add_ai_message_chunks(*chunks)  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", ["stop", "tool_calls"])
@pytest.mark.parametrize(
    "arguments",
    ['{"city": "Ro', '{"city": "Rome"', '{"to": {"city": "Rome"}', '{"city": "Rome", ', '{"to": ["Rome"'],
)
def test_a_streamed_call_whose_arguments_lack_their_end_is_not_handed_on(arguments: str, reason: str) -> None:
    with pytest.raises(BadAnswer) as caught:
        check_stream_ended(streamed_call(arguments, reason))

    assert caught.value.category is FailureCategory.TRUNCATED


@pytest.mark.parametrize(
    "arguments", ['{"city": "Rome",}', '{"city": None}', '{"city": Rome}', "Rome", '{"a": 1}}']
)
def test_a_streamed_call_that_is_no_json_is_for_the_model_to_mend(arguments: str) -> None:
    message = streamed_call(arguments)

    check_stream_ended(message)

    assert message.tool_calls == []
    assert [call["args"] for call in message.invalid_tool_calls] == [arguments]


def test_a_refusal_in_the_middle_of_a_call_is_a_refusal() -> None:
    with pytest.raises(BadAnswer) as caught:
        check_stream_ended(streamed_call('{"city": "Ro', "content_filter"))

    assert caught.value.category is FailureCategory.REFUSAL


class TestUnknown:
    """A word that nobody has met yet: the next endpoint is asked, and nothing is held against anybody."""

    WORD = "OUT_OF_TUNE"

    def reply(self, provider: LoopbackProvider, word: str, driver: Driver) -> None:
        kind = "delta" if driver in STREAMS else "message"
        for model, said in ((OPENAI, chat), (GEMINI, gemini)):
            body, name = json.dumps(said(word, kind)), model.partition(":")[2]
            if kind == "delta":
                event = Raw(200, f"data: {body}\n\ndata: [DONE]\n\n", content_type="text/event-stream")
                provider.always(event, model=name)
            else:
                provider.always(Raw(200, body), model=name)

    @pytest.mark.parametrize("first", [OPENAI, GEMINI])
    def test_the_next_endpoint_is_asked(
        self,
        make: Make,
        whole: Driver,
        provider: LoopbackProvider,
        first: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        second = GEMINI if first == OPENAI else OPENAI
        self.reply(provider, self.WORD, whole)
        provider.always(Text("whole"), model=second.partition(":")[2])
        patchbay: Patchbay = make([first, second])

        with caplog.at_level(logging.ERROR):
            answer = whole(patchbay.get_llm("f"), "hi")

        told = receipt(answer)["attempts"]
        assert answer.text == "whole"
        assert [one["finish_reason"] for one in told] == [self.WORD, "stop"]
        assert (told[0]["category"], told[0]["outcome"]) == ("unknown_reason", "rejected")
        assert patchbay.explain("f").candidates[0].rest is None
        assert self.WORD in caplog.text

    def test_where_there_is_no_other_the_error_has_the_answer(
        self, make: Make, whole: Driver, provider: LoopbackProvider
    ) -> None:
        self.reply(provider, self.WORD, whole)

        with pytest.raises(InvalidOutputError) as caught:
            whole(make(OPENAI).get_llm("f"), "hi")

        assert len(provider.requests) == 1
        assert caught.value.answer is not None
        assert caught.value.answer.text == TEXT
        assert caught.value.attempts[0].finish_reason == self.WORD

    def test_a_stream_is_interrupted(self, make: Make, stream: Driver, provider: LoopbackProvider) -> None:
        self.reply(provider, self.WORD, stream)

        with pytest.raises(StreamInterruptedError) as caught:
            stream(make(GEMINI).get_llm("f"), "hi")

        assert caught.value.partial == TEXT
        assert caught.value.attempts[0].category == "unknown_reason"

    def test_what_acts_or_is_endless_does_not_reach_the_receipt(
        self, make: Make, whole: Driver, provider: LoopbackProvider
    ) -> None:
        self.reply(provider, "x\n\x1b]0;title\x07" + "y" * 5000, whole)

        with pytest.raises(InvalidOutputError) as caught:
            whole(make(OPENAI).get_llm("f"), "hi")

        (attempt,) = caught.value.attempts
        assert attempt.finish_reason is not None
        assert len(attempt.finish_reason) < 100
        assert attempt.finish_reason.isprintable()


def test_a_failure_of_the_providers_is_asked_again_and_counts(
    make: Make, whole: Driver, provider: LoopbackProvider, virtual: Any
) -> None:
    # DeepSeek's documentation; a reason of the same kind is GLM's "network_error".
    provider.always(Raw(200, json.dumps(chat("insufficient_system_resource", "message"))))

    with pytest.raises(ProviderDownError) as caught:
        whole(make(OPENAI, time=virtual.time).get_llm("f"), "hi")

    assert [attempt.category for attempt in caught.value.attempts] == ["server"] * 3
