"""Answers of `LoopbackProvider` on each wire, as a plain HTTP client sees them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from backend.tests.unit.llm.testing.calls import WIRES, events, gemini_text, post, text_of
from backend.utils.llm.testing import Empty, Json, LoopbackProvider, Refusal, Text, ToolCalls, Usage

if TYPE_CHECKING:
    import httpx2


def test_text_on_openai(provider: LoopbackProvider, client: httpx2.Client) -> None:
    """The whole shape of a completion, with the usage that was scripted."""
    provider.script(Text("Hi you", usage=Usage(7, 5, cached_tokens=3, reasoning_tokens=2)))

    answer = post(client, provider, "openai").json()

    [choice] = answer["choices"]
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "m-1-2026-11-01"
    assert (choice["message"]["content"], choice["message"]["refusal"]) == ("Hi you", None)
    assert choice["finish_reason"] == "stop"
    assert answer["usage"]["prompt_tokens"] == 7
    assert answer["usage"]["total_tokens"] == 12
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 3
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 2


def test_text_on_gemini(provider: LoopbackProvider, client: httpx2.Client) -> None:
    """Gemini counts thoughts beside the candidates; the total is the same."""
    provider.script(Text("Hi you", usage=Usage(7, 5, cached_tokens=3, reasoning_tokens=2)))

    answer = post(client, provider, "gemini").json()

    [candidate] = answer["candidates"]
    assert candidate["content"] == {"role": "model", "parts": [{"text": "Hi you"}]}
    assert candidate["finishReason"] == "STOP"
    assert answer["modelVersion"] == "m-1-2026-11-01"
    counts = {name: count for name, count in answer["usageMetadata"].items() if name.endswith("Count")}
    assert counts == {
        "promptTokenCount": 7,
        "candidatesTokenCount": 3,
        "totalTokenCount": 12,
        "cachedContentTokenCount": 3,
        "thoughtsTokenCount": 2,
    }


def test_streamed_text_on_openai(provider: LoopbackProvider, client: httpx2.Client) -> None:
    """Role, words, reason, usage in an event of its own, `[DONE]`."""
    provider.script(Text("one two three", usage=Usage(7, 5)))

    response = post(client, provider, "openai", stream=True)

    parsed = events(response)
    assert response.headers["content-type"] == "text/event-stream"
    assert response.text.endswith("data: [DONE]\n\n")
    assert parsed[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [event["choices"][0]["delta"].get("content") for event in parsed[1:4]] == ["one ", "two ", "three"]
    assert parsed[4]["choices"][0]["finish_reason"] == "stop"
    assert (parsed[5]["choices"], parsed[5]["usage"]["completion_tokens"]) == ([], 5)
    assert all(event["usage"] is None for event in parsed[:5])


def test_streamed_usage_comes_only_when_asked_for_on_openai(
    provider: LoopbackProvider, client: httpx2.Client
) -> None:
    """Without `stream_options` there is no usage, as with the real one."""
    parsed = events(post(client, provider, "openai", stream=True, stream_options=None))

    assert all("usage" not in event for event in parsed)


def test_streamed_text_on_gemini(provider: LoopbackProvider, client: httpx2.Client) -> None:
    """Every event reports the usage so far; only the last has a reason to finish."""
    provider.script(Text("one two three", usage=Usage(7, 5)))

    parsed = events(post(client, provider, "gemini", stream=True))

    assert gemini_text(parsed) == "one two three"
    assert [event["candidates"][0].get("finishReason") for event in parsed] == [None, None, "STOP"]
    assert [event["usageMetadata"]["candidatesTokenCount"] for event in parsed] == [1, 2, 5]
    assert {event["usageMetadata"]["promptTokenCount"] for event in parsed} == {7}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("chunks", [1, 2, 5])
def test_text_in_a_given_number_of_chunks(
    provider: LoopbackProvider, client: httpx2.Client, wire: str, chunks: int
) -> None:
    """However it is cut, the pieces are the text."""
    provider.script(Text("Grüße, 你好 there", chunks=chunks))

    parsed = events(post(client, provider, wire, stream=True))

    assert text_of(wire, parsed) == "Grüße, 你好 there"
    assert sum(bool(text_of(wire, [event])) for event in parsed) == chunks


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("finish", "gemini", "anthropic"),
    [
        ("stop", "STOP", "end_turn"),
        ("length", "MAX_TOKENS", "max_tokens"),
        ("content_filter", "SAFETY", "refusal"),
    ],
)
def test_reasons_to_finish(
    provider: LoopbackProvider,
    client: httpx2.Client,
    finish: Any,
    gemini: str,
    anthropic: str,
    *,
    stream: bool,
) -> None:
    """One word in the script, each wire's own on the wire."""
    provider.always(Text("a", finish=finish))

    first, second, third = (post(client, provider, wire, stream=stream) for wire in WIRES)

    assert f'"finish_reason": "{finish}"' in first.text
    assert f'"finishReason": "{gemini}"' in second.text
    assert f'"stop_reason": "{anthropic}"' in third.text


def test_tool_calls_on_openai(provider: LoopbackProvider, client: httpx2.Client) -> None:
    """Whole, and in a stream whose argument pieces add up; ids differ."""
    calls = ToolCalls((("add", {"a": 1}), ("say", {"text": "你好"})))
    provider.script(calls, calls)

    [choice] = post(client, provider, "openai").json()["choices"]
    parsed = events(post(client, provider, "openai", stream=True))

    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    functions = [one["function"] for one in choice["message"]["tool_calls"]]
    assert [(function["name"], json.loads(function["arguments"])) for function in functions] == list(
        calls.calls
    )
    deltas = [
        delta for event in parsed for one in event["choices"] for delta in one["delta"].get("tool_calls", [])
    ]
    arguments = [
        "".join(delta["function"].get("arguments", "") for delta in deltas if delta["index"] == i)
        for i in (0, 1)
    ]
    assert [json.loads(argument) for argument in arguments] == [{"a": 1}, {"text": "你好"}]
    ids = {delta["id"] for delta in deltas if "id" in delta} | {
        one["id"] for one in choice["message"]["tool_calls"]
    }
    assert len(ids) == 4


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_tool_calls_on_gemini(provider: LoopbackProvider, client: httpx2.Client, *, stream: bool) -> None:
    """Gemini never cuts a call."""
    provider.script(ToolCalls((("add", {"a": 1}),)))

    response = post(client, provider, "gemini", stream=stream)

    [answer] = events(response) if stream else [response.json()]
    [part] = answer["candidates"][0]["content"]["parts"]
    assert (part["functionCall"]["name"], part["functionCall"]["args"]) == ("add", {"a": 1})
    assert answer["candidates"][0]["finishReason"] == "STOP"


@pytest.mark.parametrize("wire", WIRES)
def test_json_is_text(provider: LoopbackProvider, client: httpx2.Client, wire: str) -> None:
    """A value in the script is JSON in the answer."""
    provider.script(Json({"a": [1, None]}))

    parsed = events(post(client, provider, wire, stream=True))

    assert json.loads(text_of(wire, parsed)) == {"a": [1, None]}


def test_json_is_the_arguments_of_a_forced_tool(provider: LoopbackProvider, client: httpx2.Client) -> None:
    """The same script serves a request that asks for its answer through a tool."""
    provider.always(Json({"a": 1}))
    function = {"name": "add", "parameters": {"type": "object"}}
    forced = {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["add"]}}

    openai = post(
        client,
        provider,
        "openai",
        tools=[{"type": "function", "function": function}],
        tool_choice={"type": "function", "function": {"name": "add"}},
    )
    gemini = post(client, provider, "gemini", tools=[{"functionDeclarations": [function]}], toolConfig=forced)

    [called] = openai.json()["choices"][0]["message"]["tool_calls"]
    assert json.loads(called["function"]["arguments"]) == {"a": 1}
    assert gemini.json()["candidates"][0]["content"]["parts"][0]["functionCall"]["args"] == {"a": 1}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_refusals(provider: LoopbackProvider, client: httpx2.Client, *, stream: bool) -> None:
    """The model's refusal and the filter's differ on both wires."""
    model, by_filter = Refusal("I can't."), Refusal("", by="filter")
    provider.script(model, by_filter, model, by_filter)

    said, filtered, unsafe, blocked = (
        post(client, provider, wire, stream=stream).text for wire in ("openai", "openai", "gemini", "gemini")
    )

    assert '"refusal": "I can\'t."' in said
    assert '"finish_reason": "content_filter"' in filtered
    assert '"finishReason": "SAFETY"' in unsafe
    assert '"text"' not in unsafe
    assert '"promptFeedback": {"blockReason": "SAFETY"}' in blocked
    assert '"candidates":' not in blocked


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("candidates", [0, 1])
def test_empty_answers(
    provider: LoopbackProvider, client: httpx2.Client, wire: str, candidates: Any, *, stream: bool
) -> None:
    """A 200 without a word: no choice at all, or one without content."""
    provider.script(Empty(candidates=candidates))

    response = post(client, provider, wire, stream=stream)

    answers = events(response) if stream else [response.json()]
    rows = [
        row for answer in answers for row in answer.get("choices" if wire == "openai" else "candidates", [])
    ]
    assert response.status_code == 200
    assert wire == "anthropic" or bool(rows) is bool(candidates)
    assert not text_of(wire, answers if stream else [])
    assert '"text"' not in response.text
