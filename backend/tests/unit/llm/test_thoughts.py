"""What a model says to itself is a sign of life, is kept where LangChain looks for it, and is no answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages.ai import add_ai_message_chunks

from backend.utils.llm.errors import CallTimeoutError, InvalidOutputError
from backend.utils.llm.providers.answer import to_ai_message
from backend.utils.llm.providers.answer_stream import ChunkBuilder
from backend.utils.llm.providers.ask import REASONING_KEY, THOUGHTS_KEY
from backend.utils.llm.providers.chat_completions import ChatCompletionsAnswerReader
from backend.utils.llm.providers.gemini_api import GeminiAnswerReader
from backend.utils.llm.providers.responses_api import ResponsesAnswerReader
from backend.utils.llm.testing import Raw
from backend.utils.llm.transport import HOUSE, STRANGER, AnswerTooLargeError

from .test_deadline import SLACK, Misbehaving, at_most, read_request

if TYPE_CHECKING:
    import socket
    import threading

    from langchain_core.messages import AIMessage, AIMessageChunk

    from backend.utils.llm.testing import LoopbackProvider

    from .conftest import Make
    from .drivers import Driver
    from .test_deadline import Conduct


OPENAI, GEMINI = "openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"
END: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def delta(**said: Any) -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": 0, "delta": said}]}


def part(text: str, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [{"text": text, **more}]}}], "modelVersion": "m"}


def event(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **more}


def response(*items: dict[str, Any]) -> dict[str, Any]:
    return {"id": "1", "model": "m", "status": "completed", "output": list(items)}


ITEM = {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "a b"}]}
SEALED = {**ITEM, "encrypted_content": "c2VhbGVk", "status": None}
TEXT = {"type": "message", "content": [{"type": "output_text", "text": "fine"}]}

STREAMS: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    # DeepSeek, Kimi, GLM, Qwen; OpenRouter, Groq, Cerebras, vLLM; Mistral.
    "reasoning_content": (
        ChatCompletionsAnswerReader,
        [delta(reasoning_content="a "), delta(reasoning_content="b", content=None), delta(content="fine")],
    ),
    "reasoning": (
        ChatCompletionsAnswerReader,
        [delta(reasoning="a ", content=""), delta(reasoning="b"), delta(content="fine")],
    ),
    "parts of a text": (
        ChatCompletionsAnswerReader,
        [
            delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "a b"}]}]),
            delta(content=[{"type": "text", "text": "fine"}]),
        ],
    ),
    "nothing but details": (
        ChatCompletionsAnswerReader,
        [
            delta(reasoning_details=[{"type": "reasoning.summary", "summary": "a b", "index": 0}]),
            delta(content="fine"),
        ],
    ),
    "gemini": (GeminiAnswerReader, [part("a ", thought=True), part("b", thought=True), part("fine")]),
    "responses": (
        ResponsesAnswerReader,
        [
            event("reasoning_summary_text.delta", delta="a "),
            event("reasoning_summary_text.delta", delta="b"),
            event("output_text.delta", delta="fine"),
            event("completed", response=response(ITEM, TEXT)),
        ],
    ),
    "responses, at the end": (ResponsesAnswerReader, [event("completed", response=response(ITEM, TEXT))]),
}


def streamed(reader: Any, *events: dict[str, Any], trust: Any = HOUSE) -> AIMessageChunk:
    reading, stream, chunks = reader(), ChunkBuilder(trust), []
    for said in events:
        if (piece := reading.parse_event(said)) is not None:
            stream.add_event(piece)
        if stream.must_emit_chunk:
            chunks.append(stream.take_chunk())
    messages = [chunk.message for chunk in [*chunks, stream.flush()] if chunk is not None]
    return add_ai_message_chunks(*messages)  # type: ignore[arg-type]


def whole(**said: Any) -> AIMessage:
    choice = {"index": 0, "message": said, "finish_reason": "stop"}
    return to_ai_message(ChatCompletionsAnswerReader().parse_answer({"choices": [choice]}), HOUSE)


class TestKept:
    """They stand beside the text, as LangChain's adapters have them."""

    @pytest.mark.parametrize(("reader", "events"), STREAMS.values(), ids=STREAMS)
    def test_of_a_stream(self, reader: Any, events: list[dict[str, Any]]) -> None:
        found = streamed(reader, *events, *([END] if reader is ChatCompletionsAnswerReader else []))

        assert (found.text, found.additional_kwargs[THOUGHTS_KEY]) == ("fine", "a b")
        assert found.content_blocks == [
            {"type": "reasoning", "reasoning": "a b"},
            {"type": "text", "text": "fine"},
        ]

    @pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
    def test_of_a_whole_answer(self, name: str) -> None:
        found = whole(content="fine", **{name: "a b"})

        assert (found.content, found.additional_kwargs) == ("fine", {THOUGHTS_KEY: "a b"})
        assert [block["type"] for block in found.content_blocks] == ["reasoning", "text"]

    def test_thoughts_sent_under_two_names_are_kept_once(self) -> None:
        assert whole(content="", reasoning="a", reasoning_content="a").additional_kwargs[THOUGHTS_KEY] == "a"

    # OpenRouter's documentation of reasoning tokens: what is sealed has to be sent back unchanged.
    def test_what_a_provider_wants_back_is_whole_again(self) -> None:
        block = {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1", "id": None}
        sealed = {"type": "reasoning.encrypted", "index": 1, "data": "abc", "id": "call_1"}
        other = {**sealed, "data": "def", "id": "call_2"}

        found = streamed(
            ChatCompletionsAnswerReader,
            delta(reasoning="a ", reasoning_details=[{**block, "text": "a "}]),
            delta(reasoning="b", reasoning_details=[{**block, "text": "b"}]),
            delta(reasoning_details=[{**block, "signature": "sig"}, sealed]),
            delta(content="fine", reasoning_details=[other]),
            END,
        )

        assert found.additional_kwargs[REASONING_KEY] == [
            {
                "type": "reasoning.text",
                "index": 0,
                "format": "anthropic-claude-v1",
                "text": "a b",
                "signature": "sig",
            },
            sealed,
            other,
        ]

    @pytest.mark.parametrize("is_done", [True, False])
    def test_items_of_responses_are_kept_if_they_can_be_sent_back(self, *, is_done: bool) -> None:
        empty = {"id": "rs_0", "type": "reasoning", "summary": []}
        done = [event("output_item.done", item=SEALED, output_index=0)] if is_done else []

        found = streamed(
            ResponsesAnswerReader,
            *done,
            event("completed", response=response(empty, SEALED, {**SEALED, "id": "rs_2"}, TEXT)),
        )

        kept = {name: value for name, value in SEALED.items() if value is not None}
        assert found.additional_kwargs[REASONING_KEY] == (
            [kept] if is_done else [kept, {**kept, "id": "rs_2"}]
        )

    def test_thoughts_count_against_what_is_taken(self) -> None:
        with pytest.raises(AnswerTooLargeError):
            streamed(
                ChatCompletionsAnswerReader,
                delta(reasoning="x" * 600_000),
                delta(reasoning="x" * 600_000),
                trust=STRANGER,
            )

    def test_a_long_thought_is_one_chunk(self) -> None:
        reading, stream = ChatCompletionsAnswerReader(), ChunkBuilder(HOUSE)
        for _ in range(20_000):
            stream.add_event(
                reading.parse_event(delta(reasoning_content="hm ")) or pytest.fail("nothing was said")
            )
            assert not stream.must_emit_chunk
            assert stream.can_delay_chunk(has_more=False)
        stream.add_event(reading.parse_event(delta(content="fine")) or pytest.fail("nothing was said"))

        assert stream.must_emit_chunk
        made = stream.take_chunk()
        assert made is not None
        assert made.message.additional_kwargs[THOUGHTS_KEY] == "hm " * 20_000


# How long they may take ----------------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
ENDPOINTS = {"chat": OPENAI, "gemini": GEMINI, "responses": OPENAI}
THINKING = {
    "chat": delta(role="assistant", content=None, reasoning_content="hm "),
    "gemini": part("hm ", thought=True),
    "responses": event("reasoning_summary_text.delta", delta="hm "),
}
ENDED = {
    "chat": [delta(content="fine"), END],
    "gemini": [
        part("fine"),
        {"candidates": [{"content": {}, "finishReason": "STOP"}], "modelVersion": "m"},
    ],
    "responses": [event("output_text.delta", delta="fine"), event("completed", response=response(TEXT))],
}


def sent(*events: dict[str, Any]) -> bytes:
    data = b"".join(b"data: %s\n\n" % json.dumps(one).encode() for one in events)
    return b"%x\r\n%s\r\n" % (len(data), data)


def says(*parts: bytes | float, stays: bool = False) -> Conduct:
    """A server that sends, waits for as many seconds, and sends again."""

    def conduct(connection: socket.socket, closing: threading.Event) -> None:
        read_request(connection)
        connection.sendall(HEAD)
        for told in parts:
            if isinstance(told, bytes):
                connection.sendall(told)
            elif closing.wait(told):
                return
        if stays:
            closing.wait(30)

    return conduct


@pytest.fixture(params=ENDPOINTS)
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def row(api: str, **seconds: float) -> str:
    mode = f'[models."{ENDPOINTS[api]}"]\napi_mode = "responses"\n' if api == "responses" else ""
    options = ", ".join(f"{name} = {value}" for name, value in seconds.items())
    return f"{mode}[features.f]\nattempts = 1\noptions = {{ {options} }}\n"


class TestClocks:
    """A model that thinks aloud is not silent; one that has finished is not waited for."""

    # BlockRunAI/Franklin#74, router-for-me/CLIProxyAPI#4704: models think for a minute or three.
    def test_a_model_that_thinks_aloud_is_not_cut_off(self, api: str, stream: Driver, make: Make) -> None:
        thinking: list[bytes | float] = [sent(THINKING[api]), 0.2] * 10
        with Misbehaving(says(*thinking, sent(*ENDED[api]), b"0\r\n\r\n")) as server:
            patchbay = make(ENDPOINTS[api], row(api, first_chunk_timeout=1.5), server=server)
            answer = stream(patchbay.get_llm("f"), "hi")

        assert (answer.text, answer.additional_kwargs[THOUGHTS_KEY]) == ("fine", "hm " * 10)

    def test_a_model_that_falls_silent_while_it_thinks_is(self, api: str, stream: Driver, make: Make) -> None:
        with Misbehaving(says(sent(THINKING[api]), stays=True)) as server:
            patchbay = make(ENDPOINTS[api], row(api, first_chunk_timeout=0.3), server=server)
            with pytest.raises(CallTimeoutError):
                stream(patchbay.get_llm("f"), "hi")

    # diegosouzapw/OmniRoute#6777, ml-explore/mlx-lm#1148: the reason, then nothing, and the connection stays.
    def test_an_answer_that_has_ended_is_whole_though_the_connection_stays(
        self, api: str, stream: Driver, make: Make
    ) -> None:
        with Misbehaving(says(sent(*ENDED[api]), stays=True)) as server:
            patchbay = make(ENDPOINTS[api], row(api, chunk_timeout=60.0), server=server)
            with at_most(SLACK):
                answer = stream(patchbay.get_llm("f"), "hi")

        assert (answer.text, answer.response_metadata["finish_reason"]) == ("fine", "stop")

    def test_an_answer_that_has_ended_is_whole_though_the_connection_breaks(
        self, api: str, stream: Driver, make: Make
    ) -> None:
        half = b'1d\r\ndata: {"choices": [], "usage"\r\n'
        with Misbehaving(says(sent(*ENDED[api]), 0.05, half, 0.05)) as server:
            patchbay = make(ENDPOINTS[api], row(api, chunk_timeout=60.0), server=server)
            answer = stream(patchbay.get_llm("f"), "hi")

        assert answer.text == "fine"

    # googleapis/python-genai#811, NousResearch/hermes-agent#87208
    def test_nothing_but_thoughts_until_the_tokens_are_used_up_is_no_outage(
        self, call: Driver, make: Make, provider: LoopbackProvider
    ) -> None:
        said = {"content": "", "reasoning": "hm"}
        choice = {"index": 0, "delta": said, "message": said, "finish_reason": "length"}
        body, is_stream = json.dumps({"choices": [choice], "model": "m"}), "stream" in call.__name__
        event = f"data: {body}\n\ndata: [DONE]\n\n"
        provider.always(Raw(200, event, content_type="text/event-stream") if is_stream else Raw(200, body))
        patchbay = make(OPENAI)

        with pytest.raises(InvalidOutputError) as caught:
            call(patchbay.get_llm("f"), "hi")

        assert {attempt.category for attempt in caught.value.attempts} == {"truncated"}
        assert patchbay.explain("f").candidates[0].rest is None
