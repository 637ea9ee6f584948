"""Of what a user's own endpoint answers, what a caller can use is taken, as much as can be read in good time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from backend.tests.fakes.strangers import Stranger, running
from backend.utils.llm import Caller, OwnEndpoint, Patchbay, Table
from backend.utils.llm.errors import LLMError, OwnEndpointError, RefusedError, StreamInterruptedError
from backend.utils.llm.structured import SchemaMismatchError, schema_of
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_table

from .samples import CANARY, QualityScores

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage

    from backend.utils.llm.testing import LoopbackProvider
    from backend.utils.llm.testing.virtual_time import VirtualTime

    from .drivers import Driver


LIKELY = {"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -1.5}]}
USAGE = {
    "prompt_tokens": 3,
    "completion_tokens": 2,
    "total_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 1, "x": [1]},
}


@pytest.fixture
def server() -> Iterator[Stranger]:
    with running(Stranger()) as server:
        yield server


@pytest.fixture
def model(provider: LoopbackProvider, virtual: VirtualTime, server: Stranger) -> Iterator[BaseChatModel]:
    """Asks ``server``, once."""
    rows = loopback_table(provider, {"f": "openai:gpt-6-luna"}, "[features.f]\nattempts = 1")
    table = Table(text=f'private_networks = ["127.0.0.0/8"]\n{rows}', environ=HOUSE_KEYS)
    made = Patchbay(table, time=virtual.time)
    own = OwnEndpoint(base_url=f"http://127.0.0.1:{server.port}/v1", model="llama", key=SecretStr(CANARY))
    yield made.get_llm("f", caller=Caller(own_endpoint=own))
    made.close()


def call(index: int = 0, arguments: Any = "{}", **more: Any) -> dict[str, Any]:
    return {"index": index, "function": {"name": "f", "arguments": arguments}, "id": f"c{index}", **more}


def piece(arguments: str, index: int = 0) -> dict[str, Any]:
    return {"index": index, "function": {"arguments": arguments}}


def answer(choice: dict[str, Any] | None = None, **message: Any) -> list[bytes]:
    """A whole answer."""
    said = {"role": "assistant", "content": "well", **message}
    choices = [{"index": 0, "finish_reason": "stop", "message": said, **(choice or {})}]
    return [json.dumps({"id": "1", "model": "llama-4", "choices": choices, "usage": USAGE}).encode()]


def events(*told: dict[str, Any], ends: bool = True) -> list[bytes]:
    """A stream of ``told``, which comes to its end."""
    last = [chunk({}, finish_reason="stop"), {"choices": [], "usage": USAGE}] if ends else []
    lines = [f"data: {json.dumps(event)}\n\n".encode() for event in [*told, *last]]
    return [*lines, b"data: [DONE]\n\n"]


def chunk(delta: dict[str, Any], **choice: Any) -> dict[str, Any]:
    return {"model": "llama-4", "choices": [{"index": 0, "delta": delta, **choice}]}


def text(said: str) -> dict[str, Any]:
    return chunk({"content": said})


class TestTooMuch:
    """What costs more than is worth it ends the call, and is not asked for again."""

    @pytest.mark.parametrize(
        "parts",
        [
            answer(content="x" * 1_000_001),
            answer(content="[" * 100_001),
            answer(refusal="x" * 10_001),
            answer(tool_calls=[call(n) for n in range(129)]),
            answer(tool_calls=[call(0, "x" * 10_001)]),
            answer({"logprobs": {"content": [{}] * 10_001}}),
            answer(annotations=[{}] * 100_001),
            [b"[" * 4_000_000],
        ],
        ids=["text", "values in it", "refusal", "calls", "arguments", "probabilities", "values", "nesting"],
    )
    def test_of_a_whole_answer(
        self, model: BaseChatModel, server: Stranger, whole: Driver, parts: list[bytes]
    ) -> None:
        server.reply = 200, {}, parts

        with pytest.raises(OwnEndpointError, match="sent more than"):
            whole(model, "hi")

        assert len(server.hosts) == 1

    @pytest.mark.parametrize(
        "told",
        [
            [text("x" * 500_001)] * 2,
            [chunk({"refusal": "x" * 1001})] * 10,
            [chunk({"tool_calls": [call(n) for n in range(129)]})],
            [chunk({"tool_calls": [call(0, "", id=str(n))]}) for n in range(129)],
            [chunk({"tool_calls": [call(0, " " * 1001)]})] * 10,
            [chunk({"tool_calls": [call(0, "x" * 1001)]})],
            [chunk({}, logprobs={"content": [LIKELY] * 1001})] * 10,
            [chunk({"annotations": [{}] * 100_001})],
        ],
        ids=["text", "refusal", "calls", "calls in one place", "arguments", "garbage", "likely", "values"],
    )
    def test_of_a_stream(
        self, model: BaseChatModel, server: Stranger, stream: Driver, told: list[dict[str, Any]]
    ) -> None:
        server.reply = 200, {}, events(*told)

        with pytest.raises(LLMError) as caught:
            stream(model, "hi")

        (attempt,) = caught.value.attempts
        assert attempt.category == "rejected"

    def test_a_number_is_as_long_as_a_number(
        self, model: BaseChatModel, server: Stranger, whole: Driver
    ) -> None:
        (said,) = answer()
        server.reply = 200, {}, [said.replace(b'"prompt_tokens": 3', b'"prompt_tokens": ' + b"9" * 5000)]

        told = whole(model, "hi").usage_metadata

        assert told is not None
        assert (told["input_tokens"], told["output_tokens"]) == (0, 2)


class TestPlain:
    """What has the shape of Chat Completions arrives, and thoughts; all else is left out."""

    ODD: dict[str, Any] = {  # noqa: RUF012
        "audio": {"data": "x"},
        "annotations": [{"type": "url_citation"}],
        "function_call": {"name": "f", "arguments": "{}"},
        "reasoning_content": "hm",
        "role": "system",
    }

    def test_of_a_whole_answer(self, model: BaseChatModel, server: Stranger, whole: Driver) -> None:
        server.reply = 200, {}, answer({"logprobs": {"content": [LIKELY]}}, **self.ODD, tool_calls=[call()])

        self.assert_plain(whole(model, "hi"), "well")

    def test_of_a_stream(self, model: BaseChatModel, server: Stranger, stream: Driver) -> None:
        told = chunk({"content": "we", **self.ODD}, logprobs={"content": [LIKELY]})
        server.reply = 200, {}, events(told, chunk({"content": "ll", "tool_calls": [call()]}))

        self.assert_plain(stream(model, "hi"), "well")

    def assert_plain(self, got: AIMessage, said: str) -> None:
        assert (got.content, got.additional_kwargs) == (said, {"reasoning_content": "hm"})
        assert got.tool_calls == [{"name": "f", "args": {}, "id": "c0", "type": "tool_call"}]
        assert got.usage_metadata is not None
        assert got.usage_metadata["total_tokens"] == 5
        assert got.usage_metadata["input_token_details"] == {"cache_read": 1}
        told = got.response_metadata
        assert (told["model_name"], told["finish_reason"]) == ("llama-4", "stop")
        assert told["logprobs"] == {"content": [LIKELY]}

    def test_a_text_in_parts_is_one(self, model: BaseChatModel, server: Stranger, whole: Driver) -> None:
        parts = [
            {"type": "text", "text": "we"},
            {"type": "thinking", "thinking": []},
            {"type": "text", "text": "ll"},
        ]
        server.reply = 200, {}, answer(content=parts)

        assert whole(model, "hi").content == "well"

    def test_the_first_choice_is_the_answer(
        self, model: BaseChatModel, server: Stranger, whole: Driver
    ) -> None:
        (said,) = answer()
        told = json.loads(said)
        others = [{"index": 1, "finish_reason": "content_filter", "message": {}}] * 3
        server.reply = 200, {}, [json.dumps({**told, "choices": told["choices"] + others}).encode()]

        assert whole(model, "hi").text == "well"

    def test_other_choices_of_a_stream_are_left_out(
        self, model: BaseChatModel, server: Stranger, stream: Driver
    ) -> None:
        other = {"choices": [{"index": 1, "delta": {"content": "x"}, "finish_reason": "content_filter"}]}
        server.reply = 200, {}, events(text("we"), other, text("ll"))

        got = stream(model, "hi")

        assert got.text == "well"
        assert "other_finish_reasons" not in got.response_metadata

    def test_a_refusal_is_one(self, model: BaseChatModel, server: Stranger, stream: Driver) -> None:
        server.reply = 200, {}, events(chunk({"refusal": "I "}), chunk({"refusal": "won't."}))

        with pytest.raises(RefusedError):
            stream(model, "hi")

    @pytest.mark.parametrize("document", [b"[]", b"1", b'"x"', b"{}", b'{"choices": 1}', b'{"choices": [1]}'])
    def test_what_has_another_shape_is_no_answer(
        self, model: BaseChatModel, server: Stranger, whole: Driver, document: bytes
    ) -> None:
        server.reply = 200, {}, [document]

        with pytest.raises(LLMError, match=r"no answer|empty answer"):
            whole(model, "hi")


class TestStreams:
    """No more chunks come than can be joined, and arguments when all of them are there."""

    def chunks(self, model: BaseChatModel, server: Stranger, told: Iterable[dict[str, Any]]) -> list[Any]:
        server.reply = 200, {}, events(*told)
        return list(model.stream("hi"))

    def test_a_short_answer_is_unchanged(self, model: BaseChatModel, server: Stranger) -> None:
        got = self.chunks(model, server, map(text, "abc"))

        assert [chunk.text for chunk in got if chunk.text] == ["a", "b", "c"]

    def test_a_long_one_in_fewer_chunks(self, model: BaseChatModel, server: Stranger) -> None:
        got = self.chunks(model, server, [text(f"{n} ") for n in range(20_000)])

        assert "".join(chunk.text for chunk in got) == "".join(f"{n} " for n in range(20_000))
        assert len(got) < 4000

    def test_the_end_and_the_tokens_come_once(
        self, model: BaseChatModel, server: Stranger, stream: Driver
    ) -> None:
        often = {**chunk({"content": "a"}, finish_reason="stop"), "usage": USAGE}
        server.reply = 200, {}, events(*[often] * 100)

        got = stream(model, "hi")

        assert got.response_metadata["finish_reason"] == "stop"
        assert got.usage_metadata is not None
        assert got.usage_metadata["total_tokens"] == 5

    def test_a_tool_call_is_streamed_when_it_begins_and_its_arguments_when_they_come(
        self, model: BaseChatModel, server: Stranger
    ) -> None:
        pieces = [call(0, ""), piece('{"a"'), call(1, ""), piece(": 1}"), piece('{"b": 2}', 1)]
        got = self.chunks(model, server, [chunk({"tool_calls": [one]}) for one in pieces])

        told = [[(one["name"], one["args"]) for one in chunk.tool_call_chunks] for chunk in got]
        assert [one for one in told if one] == [
            [("f", "")],
            [("f", "")],
            [(None, '{"a": 1}'), (None, '{"b": 2}')],
        ]

    def test_calls_with_one_index_are_separated_by_their_ids(
        self, model: BaseChatModel, server: Stranger, stream: Driver
    ) -> None:
        calls = [call(0, f'{{"n": {n}}}', id=f"id{n}") for n in range(3)]
        server.reply = 200, {}, events(*(chunk({"tool_calls": [one]}) for one in calls))

        assert [(one["id"], one["args"]) for one in stream(model, "hi").tool_calls] == [
            (f"id{n}", {"n": n}) for n in range(3)
        ]

    def test_a_truncated_tool_call_is_broken_off(
        self, model: BaseChatModel, server: Stranger, stream: Driver
    ) -> None:
        server.reply = 200, {}, events(chunk({"tool_calls": [call(0, '{"a": 1, "b')]}))

        with pytest.raises(StreamInterruptedError):
            stream(model, "hi")

    def test_one_without_an_end_is_broken_off(
        self, model: BaseChatModel, server: Stranger, stream: Driver
    ) -> None:
        server.reply = 200, {}, events(text("we"), ends=False)

        with pytest.raises(LLMError) as caught:
            stream(model, "hi")

        assert caught.value.attempts[0].category == "interrupted"


class TestObjects:
    """A text that is no object is found out in good time."""

    @pytest.mark.parametrize("text", ["```" + " " * 100_000, "```" + " x" * 100_000, "``` " * 50_000])
    def test_a_block_of_markdown_that_never_ends(self, text: str) -> None:
        with pytest.raises(SchemaMismatchError):
            schema_of(QualityScores).parse(text)

    @pytest.mark.parametrize("block", ['```json\n{"scores": {}}\n```', '  ```{"scores": {}}```\n'])
    def test_a_block_of_markdown_is_opened(self, block: str) -> None:
        assert schema_of(QualityScores).parse(block) == QualityScores(scores={})

    def test_very_many_faults_are_summarised(self) -> None:
        wrong = json.dumps({"scores": dict.fromkeys(map(str, range(1000)), "x")})

        with pytest.raises(SchemaMismatchError, match="wrong in 1000 places"):
            schema_of(QualityScores).parse(wrong)
