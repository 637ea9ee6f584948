"""One reader for each API takes any JSON: what sloppy servers leave out, repeat or spell otherwise costs no answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages.ai import add_ai_message_chunks

from backend.utils.llm.failures import BadAnswer
from backend.utils.llm.providers.answer import to_ai_message
from backend.utils.llm.providers.answer_stream import ChunkBuilder
from backend.utils.llm.providers.anthropic_api import AnthropicAnswerReader
from backend.utils.llm.providers.ask import ProviderError
from backend.utils.llm.providers.chat_completions import ChatCompletionsAnswerReader
from backend.utils.llm.providers.events import ServerSentEventParser
from backend.utils.llm.providers.gemini_api import GeminiAnswerReader
from backend.utils.llm.providers.history import SIGNATURES_KEY
from backend.utils.llm.providers.loose_json import parse_count, parse_json_object
from backend.utils.llm.providers.responses_api import ResponsesAnswerReader
from backend.utils.llm.testing import Raw
from backend.utils.llm.transport import HOUSE, STRANGER, AnswerTooLargeError

from .interplay.conftest import OPENAI

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, AIMessageChunk

    from backend.utils.llm.testing import LoopbackProvider
    from backend.utils.llm.transport import ServerTrust

    from .conftest import Make
    from .drivers import Driver


TRUSTS = {"house": HOUSE, "stranger": STRANGER}
HELLO = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "fine"}}]}
END: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "model": "m"}


@pytest.fixture(params=TRUSTS)
def trust(request: pytest.FixtureRequest) -> ServerTrust:
    return TRUSTS[request.param]


def joined(trust: ServerTrust, *events: dict[str, Any], reader: Any = None) -> AIMessageChunk:
    """What the chunks of a stream of ``events`` come to."""
    reader, stream, chunks = reader or ChatCompletionsAnswerReader(), ChunkBuilder(trust), []
    for event in events:
        if (piece := reader.parse_event(event)) is not None:
            stream.add_event(piece)
        if stream.must_emit_chunk:
            chunks.append(stream.take_chunk())
    chunks.append(stream.flush())
    messages = [chunk.message for chunk in chunks if chunk is not None]
    return add_ai_message_chunks(*messages)  # type: ignore[arg-type]


def whole(**message: Any) -> AIMessage:
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return to_ai_message(ChatCompletionsAnswerReader().parse_answer({"choices": [choice]}), HOUSE)


def called(*pieces: dict[str, Any] | None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"tool_calls": list(pieces)}}]}


def call(name: str | None = "look", arguments: Any = '{"city": "Rom"}', **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


class TestChunks:
    """What a chunk lacks is not missed."""

    # openai/openai-python#1677, langchain-ai/langchain#18977: Azure's asynchronous filter.
    FILTER: dict[str, Any] = {  # noqa: RUF012
        "id": "",
        "model": "",
        "choices": [{"index": 0, "finish_reason": None, "content_filter_offsets": {"check_offset": 44}}],
    }

    @pytest.mark.parametrize(
        "events",
        [
            (HELLO, END, FILTER),
            (FILTER, HELLO, END),
            (HELLO, {"choices": [{"index": 0, "delta": None, "finish_reason": "stop"}], "model": "m"}),
            (HELLO, {"choices": None}, {"choices": []}, {}, END),
            (
                {"choices": [{"delta": {"content": "fine"}}]},
                {"choices": [{"finish_reason": "stop"}], "model": "m"},
            ),
            (HELLO, {"choices": [None, 7, *END["choices"]], "model": "m", "usage": 7}),
            (HELLO, {"choices": [{"finish_reason": "null"}]}, END),
        ],
        ids=["filter last", "filter first", "no delta", "no choices", "no index", "junk", "null as a text"],
    )
    def test_the_answer_is_whole(self, trust: ServerTrust, events: tuple[dict[str, Any], ...]) -> None:
        found = joined(trust, *events)

        assert found.text == "fine"
        assert found.response_metadata["finish_reason"] == "stop"
        assert found.response_metadata["model_name"] == "m"

    # agno-agi/agno#6058, langchain-ai/langchain#30429: told with every chunk, or with the reason and again at the end.
    @pytest.mark.parametrize("often", [1, 2, 24])
    def test_usage_is_the_last_that_was_sent(self, trust: ServerTrust, often: int) -> None:
        told = [
            {**HELLO, "usage": {"prompt_tokens": 9, "completion_tokens": said, "total_tokens": 9 + said}}
            for said in range(1, often + 1)
        ]

        found = joined(trust, *told, END, {"choices": [], "usage": told[-1]["usage"]})

        assert found.usage_metadata is not None
        assert (found.usage_metadata["input_tokens"], found.usage_metadata["output_tokens"]) == (9, often)

    def test_counts_may_be_floats_or_texts(self) -> None:
        usage = {
            "prompt_tokens": 10.0,
            "completion_tokens": "5",
            "prompt_tokens_details": {"cached_tokens": 4.0},
        }

        found = to_ai_message(
            ChatCompletionsAnswerReader().parse_answer({"choices": [], "usage": usage}), HOUSE
        ).usage_metadata

        assert found is not None
        assert (found["input_tokens"], found["output_tokens"], found["total_tokens"]) == (10, 5, 15)
        assert found["input_token_details"] == {"cache_read": 4}

    @pytest.mark.parametrize("value", [-1, 1.5, "x", "", True, None, [], 10**13, float("nan"), float("inf")])
    def test_what_is_no_count_is_none(self, value: object) -> None:
        assert parse_count(value) is None


class TestCalls:
    """A tool call is one, whoever counts and names it how."""

    # langchain-ai/langchain#34432 (no index), bytedance/deer-flow#523 (a name with every piece), hermes-agent#57939
    # (each call at place 0).
    @pytest.mark.parametrize(
        "pieces",
        [
            [call(id="a"), call("other", "{}", id="b")],
            [call(), call("other", "{}")],
            [call(id="a", index=0), call("other", "{}", id="b", index=0)],
            [call(index=0), call("other", "{}", index=0)],
            [call(id="a", index="0"), call("other", "{}", id="b", index=1.0)],
            [call(arguments={"city": "Rom"}), call("other", None)],
            [
                call(arguments='{"ci', id="a", index=0),
                call(arguments='ty": "Rom"}', id="a", index=0),
                call("other", "", index=1),
            ],
            [
                call(None, "", index=0),
                call(arguments=""),
                call(None, '{"city": "Rom"}', index=0),
                call("other", "{}"),
            ],
            [call(arguments='{"city"', id="a"), call(None, ': "Rom"}'), call("other", "{}", id="b"), None],
        ],
        ids=[
            "no index",
            "neither index nor id",
            "one place for all",
            "one place and no id",
            "numbers as texts",
            "arguments as an object",
            "all of it in every piece",
            "the name late",
            "then nothing but arguments",
        ],
    )
    def test_of_a_stream(self, trust: ServerTrust, pieces: list[dict[str, Any] | None]) -> None:
        found = joined(trust, *map(called, pieces), END)

        assert [(one["name"], one["args"]) for one in found.tool_calls] == [
            ("look", {"city": "Rom"}),
            ("other", {}),
        ]
        assert len({one["id"] for one in found.tool_calls if one["id"]}) == 2

    def test_of_a_whole_answer(self) -> None:
        found = whole(
            content=None, tool_calls=[call(), call("other", None, id="b"), call(arguments="[1]"), None]
        )

        assert [(one["name"], one["args"]) for one in found.tool_calls] == [
            ("look", {"city": "Rom"}),
            ("other", {}),
        ]
        assert all(one["id"] for one in found.tool_calls)
        assert [one["args"] for one in found.invalid_tool_calls] == ["[1]"]

    def test_gemini_gives_a_call_no_id_and_a_signature_for_url(self) -> None:
        part = {"functionCall": {"name": "look", "args": {"days": 2.0}}, "thoughtSignature": "a-_b"}
        told = {"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]}

        found = to_ai_message(GeminiAnswerReader().parse_answer(told), HOUSE)

        (made,) = found.tool_calls
        assert made["args"] == {"days": 2}
        assert found.additional_kwargs[SIGNATURES_KEY] == {made["id"]: "a+/b"}
        assert found.response_metadata["finish_reason"] == "tool_calls"


class TestResponses:
    """What a server of Responses does not tell in pieces is in its last event."""

    def test_a_text_and_a_call_that_came_in_no_piece(self, trust: ServerTrust) -> None:
        text = {"type": "message", "content": [{"type": "output_text", "text": "fine"}]}
        item = {"type": "function_call", "call_id": "a", "name": "look", "arguments": "{}"}
        response = {"id": "1", "status": "completed", "output": [text, item], "model": "m"}

        found = joined(
            trust, {"type": "response.completed", "response": response}, reader=ResponsesAnswerReader()
        )

        assert (found.text, found.tool_calls[0]["name"]) == ("fine", "look")
        assert found.response_metadata["finish_reason"] == "tool_calls"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    "choices",
    "delta",
    "message",
    "content",
    "tool_calls",
    "function",
    "arguments",
    "name",
    "id",
    "index",
    "usage",
    "prompt_tokens",
    "logprobs",
    "error",
    "finish_reason",
    "refusal",
    "output",
    "item",
    "response",
    "type",
    "status",
    "candidates",
    "parts",
    "text",
    "functionCall",
    "args",
    "usageMetadata",
    "message",
    "stop_reason",
    "content_block",
    "partial_json",
    "thinking",
    "signature",
    "input",
    "output_tokens_details",
]
ODD = st.recursive(
    ANYTHING
    | st.sampled_from(
        [
            *("response.completed", "response.output_item.added", "function_call", "message"),
            *("message_start", "content_block_start", "content_block_delta", "message_delta", "tool_use"),
        ]
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=25,
)
READERS = {
    "chat": ChatCompletionsAnswerReader,
    "responses": ResponsesAnswerReader,
    "gemini": GeminiAnswerReader,
    "anthropic": AnthropicAnswerReader,
}


@pytest.mark.parametrize("kind", READERS)
@given(documents=st.lists(st.dictionaries(st.sampled_from(FIELDS), ODD, max_size=6), max_size=4))
def test_whatever_comes_is_read_or_refused(kind: str, documents: list[dict[str, Any]]) -> None:
    reader, stream = READERS[kind](), ChunkBuilder(STRANGER)
    try:
        for document in documents:
            if (piece := reader.parse_event(document)) is not None:
                stream.add_event(piece)
            stream.take_chunk()
        stream.flush()
        for document in documents:
            to_ai_message(READERS[kind]().parse_answer(document), HOUSE)
    except (BadAnswer, AnswerTooLargeError, ProviderError):
        pass


HALVES = st.lists(st.sampled_from("aé\ud83d\udcaf"), max_size=6).map("".join)


class TestCharacters:
    """Text consists of whole characters, or nobody could store or send it."""

    @given(texts=st.lists(HALVES, max_size=4))
    def test_halves_that_come_in_two_events_are_one_character(self, texts: list[str]) -> None:
        deltas = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]

        told = joined(HOUSE, *deltas, END).text

        together = "".join(texts).encode("utf-16-le", "surrogatepass")
        assert told == together.decode("utf-16-le", "replace")

    @given(content=HALVES, thoughts=HALVES, refusal=HALVES)
    def test_a_whole_answer_has_no_halves(self, content: str, thoughts: str, refusal: str) -> None:
        answer = whole(content=content, reasoning_content=thoughts, refusal=refusal)

        assert answer.model_dump_json()

    @given(value=HALVES, size=st.integers(1, 9), is_ascii=st.booleans())
    def test_arguments_of_a_call_have_no_halves(self, value: str, size: int, *, is_ascii: bool) -> None:
        text = json.dumps({"city": value}, ensure_ascii=is_ascii)
        pieces = [call(None, text[at : at + size], index=0) for at in range(0, len(text), size)]

        at_once = whole(tool_calls=[call(arguments=text)])
        streamed = joined(HOUSE, called(call(arguments="", index=0, id="a")), *map(called, pieces), END)

        assert at_once.model_dump_json()
        assert [one["args"] for one in at_once.tool_calls] == [one["args"] for one in streamed.tool_calls]


# sgl-project/sglang#7863: JSON within JSON, also twice.
@pytest.mark.parametrize(
    "text", ['{"city": "Rom"}', '"{\\"city\\": \\"Rom\\"}"', json.dumps(json.dumps('{"city": "Rom"}'))]
)
def test_arguments_that_were_written_as_a_text_are_read(text: str) -> None:
    streamed = joined(
        HOUSE, called(call(arguments="", index=0, id="a")), called(call(None, text, index=0)), END
    )
    asked = {"functionCall": {"name": "look", "args": text}}
    gemini = GeminiAnswerReader().parse_answer(
        {"candidates": [{"content": {"parts": [asked]}, "finishReason": "STOP"}]}
    )

    for answer in (whole(tool_calls=[call(arguments=text)]), streamed, to_ai_message(gemini, HOUSE)):
        assert [one["args"] for one in answer.tool_calls] == [{"city": "Rom"}]


@pytest.mark.parametrize("text", ['"no object"', '"{broken"', '"'])
def test_a_text_that_is_no_arguments_is_told(text: str) -> None:
    pieces = [called(call(arguments="", index=0, id="a")), called(call(None, text, index=0))]

    for answer in (whole(tool_calls=[call(arguments=text)]), joined(HOUSE, *pieces, END)):
        assert [one["args"] for one in answer.invalid_tool_calls] == [text]


class TestEvents:
    """A stream is read by the standard: what says nothing is nothing."""

    @staticmethod
    def read(body: bytes, size: int) -> list[bytes]:
        parser = ServerSentEventParser()
        found: list[bytes] = []
        for at in range(0, len(body), size):
            found += parser.feed(body[at : at + size])
        return [*found, *parser.flush()]

    # openai/openai-python#2722: a gateway's heartbeat.
    @pytest.mark.parametrize("size", [1, 2, 3, 1000])
    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
    @pytest.mark.parametrize(
        "lines",
        [
            [b"data:", b"", b"data: {}", b"", b"data: ", b""],
            [b"\xef\xbb\xbfdata: {}", b""],
            [b": ping", b"", b"event: ping", b"", b"retry: 3", b"id: 1", b"data:{}", b""],
            [b"data: {", b"data: }", b"", b"data: [DONE]", b"", b"data: {}", b""],
            [b"", b"", b"data: {}"],
            [b"data: {}", b"", b"data:  [DONE] ", b""],
        ],
        ids=["no data", "byte order mark", "comments and names", "two lines", "no end", "blanks at the end"],
    )
    def test_one_event_is_one(self, lines: list[bytes], end: bytes, size: int) -> None:
        body = b"".join(line + end for line in lines)

        assert [json.loads(data) for data in self.read(body, size)] == [{}]

    # rexxars/eventsource-parser#31: GLM-4.7 and Kimi-K2.5.
    @pytest.mark.parametrize("size", [1, 2, 3, 1000])
    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
    def test_events_without_an_empty_line_between_them_are_several(self, end: bytes, size: int) -> None:
        lines = [
            b'data: {"a": 1}',
            b'data:{"a":',
            b"data: 2}",
            b'{"a": 3}',
            b"data: [DONE]",
            b'data: {"a": 4}',
        ]

        found = self.read(b"".join(line + end for line in lines), size)

        assert [json.loads(data)["a"] for data in found] == [1, 2, 3]

    @pytest.mark.parametrize("end", [b"", b"\n"], ids=["none", "an empty line"])
    @pytest.mark.parametrize("between", [b"", b"\n"], ids=["none", "an empty line"])
    def test_each_event_has_its_own_name(self, between: bytes, end: bytes) -> None:
        parser = ServerSentEventParser()
        body = between.join(
            [b'event: a\ndata: {"i": 1}\n', b'event: b\ndata: {"i": 2}\n', b'data: {"i": 3}\n']
        )
        found: list[str] = []

        for events in (parser.feed(body + end), parser.flush()):
            found += [parser.name for _ in events]

        assert found == ["a", "b", ""]

    def test_a_name_may_stand_behind_the_data(self) -> None:
        parser = ServerSentEventParser()

        assert [parser.name for _ in parser.feed(b"data: {}\nevent: a\n\ndata: {}\n\n")] == ["a", ""]

    def test_an_event_is_complete_when_the_next_begins(self) -> None:
        parser = ServerSentEventParser()

        assert list(parser.feed(b"data: {}\n")) == []
        assert list(parser.feed(b"data: {")) == []
        assert list(parser.feed(b"}\n")) == [b"{}"]

    def test_a_document_of_googles_may_stand_in_a_list(self) -> None:
        assert parse_json_object(b'[{"error": {}}]', HOUSE) == {"error": {}}
        with pytest.raises(BadAnswer):
            parse_json_object(b"[{}, {}]", HOUSE)


def test_a_whole_answer_to_a_request_for_a_stream_is_read(
    make: Make, stream: Driver, provider: LoopbackProvider
) -> None:
    choice = {"index": 0, "message": {"content": "fine"}, "finish_reason": "stop"}
    provider.always(Raw(200, json.dumps({"choices": [choice], "model": "m"})))

    assert stream(make(OPENAI).get_llm("f"), "hi").text == "fine"


def test_an_error_inside_a_choice_is_an_error() -> None:
    with pytest.raises(ProviderError) as caught:
        ChatCompletionsAnswerReader().parse_event(
            {"choices": [{"delta": {}, "error": {"code": 502, "message": "no"}}]}
        )

    assert caught.value.body == {"code": 502, "message": "no"}


def test_after_the_reason_and_what_was_used_nothing_is_waited_for() -> None:
    reader = ChatCompletionsAnswerReader()

    reader.parse_event({**HELLO, "usage": {"prompt_tokens": 1}})
    reader.parse_event(END)
    assert not reader.is_over
    reader.parse_event({"choices": [], "usage": {"prompt_tokens": 1}})

    assert reader.is_over
