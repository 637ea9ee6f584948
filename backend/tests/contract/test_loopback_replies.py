"""The double's ways to answer oddly, on every wire, as a plain HTTP client sees them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from backend.utils.llm.testing import (
    KeepAlive,
    LoopbackProvider,
    Raw,
    Refusal,
    Reply,
    StreamError,
    Text,
    ToolCalls,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

GAP = 0.05
ERROR = {"code": "server_error", "message": "It did not work."}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
RESPONSES = {"model": "m", "input": "hi"}
ANTHROPIC = {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]}
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
PATHS: dict[tuple[str, bool], tuple[str, dict[str, Any]]] = {
    ("chat", False): ("/v1/chat/completions", CHAT),
    ("chat", True): ("/v1/chat/completions", CHAT | {"stream": True}),
    ("responses", False): ("/v1/responses", RESPONSES),
    ("responses", True): ("/v1/responses", RESPONSES | {"stream": True}),
    ("anthropic", False): ("/v1/messages", ANTHROPIC),
    ("anthropic", True): ("/v1/messages", ANTHROPIC | {"stream": True}),
    ("gemini", False): ("/v1beta/models/m:generateContent", GEMINI),
    ("gemini", True): ("/v1beta/models/m:streamGenerateContent?alt=sse", GEMINI),
}
everywhere = pytest.mark.parametrize(
    ("wire", "stream"), PATHS, ids=[f"{wire}-{'stream' if stream else 'whole'}" for wire, stream in PATHS]
)


@pytest.fixture(scope="module")
def provider() -> Iterator[LoopbackProvider]:
    with LoopbackProvider() as running:
        yield running


def answer(provider: LoopbackProvider, wire: str, *, stream: bool, reply: Reply) -> httpx2.Response:
    provider.script(reply)
    path, body = PATHS[wire, stream]
    return httpx2.post(f"{provider.origin}{path}", json=body)


def events(response: httpx2.Response) -> list[Any]:
    data = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in data if line != "[DONE]"]


@everywhere
def test_a_raw_answer_is_just_that(provider: LoopbackProvider, wire: str, *, stream: bool) -> None:
    response = answer(provider, wire, stream=stream, reply=Raw(418, "short", "text/plain", {"X-Pot": "tea"}))

    assert (response.status_code, response.text) == (418, "short")
    assert (response.headers["content-type"], response.headers["x-pot"]) == ("text/plain", "tea")


@everywhere
def test_an_error_behind_a_200(provider: LoopbackProvider, wire: str, *, stream: bool) -> None:
    response = answer(provider, wire, stream=stream, reply=StreamError(2, "one two three", ERROR))

    assert response.status_code == 200
    told = events(response)[-1] if stream else response.json()
    assert told == ({"type": "error", "error": ERROR} if wire == "anthropic" else {"error": ERROR})
    assert ("one " in response.text, "two " in response.text) == (stream, stream)
    assert "three" not in response.text


@everywhere
def test_signs_of_life_before_an_answer(provider: LoopbackProvider, wire: str, *, stream: bool) -> None:
    started = time.monotonic()

    response = answer(provider, wire, stream=stream, reply=KeepAlive(GAP, Text("late"), count=2))

    assert time.monotonic() - started >= 2 * GAP
    assert response.text.startswith(": PROCESSING\n\n: PROCESSING\n\n" if stream else "  {")
    assert "late" in response.text


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("wire", "choices"), [("chat", "choices"), ("gemini", "candidates")])
def test_a_filtered_choice_beside_a_good_one(
    provider: LoopbackProvider, wire: str, choices: str, *, stream: bool
) -> None:
    response = answer(provider, wire, stream=stream, reply=Text("fine", beside="content_filter"))

    told = [one for part in (events(response) if stream else [response.json()]) for one in part[choices]]
    reasons = {one["index"]: one.get("finish_reason") or one.get("finishReason") for one in told}
    assert reasons in ({0: "stop", 1: "content_filter"}, {0: "STOP", 1: "SAFETY"})


def test_a_refusal_comes_in_pieces(provider: LoopbackProvider) -> None:
    response = answer(provider, "chat", stream=True, reply=Refusal("I will not.", chunks=3))

    pieces = [event["choices"][0]["delta"].get("refusal") for event in events(response)]
    assert [piece for piece in pieces if piece] == ["I w", "ill ", "not."]


class TestResponses:
    """The sequence of events that OpenAI documents."""

    def test_of_a_text(self, provider: LoopbackProvider) -> None:
        reply = Text("one two", usage=Usage(5, 9, cached_tokens=2, reasoning_tokens=4))

        parsed = events(answer(provider, "responses", stream=True, reply=reply))

        assert [event["type"].removeprefix("response.") for event in parsed] == [
            "created",
            "in_progress",
            "output_item.added",  # thoughts
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "completed",
        ]
        assert [event["sequence_number"] for event in parsed] == list(range(len(parsed)))

    def test_of_a_call(self, provider: LoopbackProvider) -> None:
        reply = ToolCalls((("add", {"first": 1}),))

        parsed = events(answer(provider, "responses", stream=True, reply=reply))

        kinds = [event["type"].removeprefix("response.") for event in parsed]
        assert kinds == [
            "created",
            "in_progress",
            "output_item.added",
            *["function_call_arguments.delta"] * 3,
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ]
        assert "".join(event["delta"] for event in parsed if "delta" in event) == '{"first": 1}'

    def test_the_last_one_is_the_whole_answer(self, provider: LoopbackProvider) -> None:
        whole = answer(provider, "responses", stream=False, reply=Text("one two")).json()
        parsed = events(answer(provider, "responses", stream=True, reply=Text("one two")))

        ours = {"id", "output"}
        assert {key: parsed[-1]["response"][key] for key in whole.keys() - ours} == {
            key: whole[key] for key in whole.keys() - ours
        }
        assert parsed[-1]["response"]["output"][0]["content"] == whole["output"][0]["content"]

    @pytest.mark.parametrize(
        ("reply", "status", "reason"),
        [
            (Text("done"), "completed", None),
            (Text("cut sh", finish="length"), "incomplete", "max_output_tokens"),
            (Refusal("", by="filter"), "incomplete", "content_filter"),
        ],
    )
    def test_how_it_ended(
        self, provider: LoopbackProvider, reply: Reply, status: str, reason: str | None
    ) -> None:
        told = answer(provider, "responses", stream=False, reply=reply).json()

        assert told["status"] == status
        assert (told["incomplete_details"] or {}).get("reason") == reason
