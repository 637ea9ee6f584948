"""Anthropic's own SDK for Python, unmodified, speaks to features."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anthropic
import pytest

from backend.tests.fakes.edges import loopback_edge
from backend.tests.fakes.strict_histories import StrictProvider
from backend.utils.llm.testing import Cut, Json, LoopbackProvider, Status, Text, ToolCalls, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backend.tests.fakes.edges import Edge

FEATURES = {
    "chat": "openai:gpt-6-luna",
    "claude": "anthropic:claude-sonnet-5-5",
    "gemini": "gemini:gemini-3.5-flash",
}
HELLO: Any = [{"role": "user", "content": "Hello?"}]
TOOL: Any = {
    "name": "look_up",
    "description": "Looks a word up.",
    "input_schema": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
}
CALL = ToolCalls((("look_up", {"word": "patchbay"}),))
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
MARK = {"type": "ephemeral"}


@pytest.fixture(scope="module")
def provider() -> Iterator[LoopbackProvider]:
    with StrictProvider() as running:
        yield running


@pytest.fixture(scope="module")
def edge(provider: LoopbackProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with loopback_edge(provider, tmp_path_factory.mktemp("edge"), FEATURES) as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_scripted(provider: LoopbackProvider) -> None:
    provider.clear()


@pytest.fixture
def stranger(provider: LoopbackProvider, tmp_path: Path) -> Iterator[anthropic.Anthropic]:
    """A client of a service of its own, for what makes a service rest an endpoint."""
    with (
        loopback_edge(provider, tmp_path, FEATURES) as running,
        anthropic.Anthropic(base_url=running.anthropic_url, api_key=running.token, max_retries=0) as made,
    ):
        yield made


@pytest.fixture
def client(edge: Edge) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=edge.anthropic_url, api_key=edge.token, max_retries=0) as made:
        yield made


def error_of(caught: pytest.ExceptionInfo[anthropic.APIStatusError]) -> dict[str, Any]:
    body = caught.value.body
    assert isinstance(body, dict)
    return body


def ask(client: anthropic.Anthropic, model: str, messages: Any = HELLO, **more: Any) -> Any:
    return client.messages.create(model=model, max_tokens=500, messages=messages, **more)


def streamed(client: anthropic.Anthropic, model: str, messages: Any = HELLO, **more: Any) -> Any:
    with client.messages.stream(model=model, max_tokens=500, messages=messages, **more) as stream:
        return stream.get_final_message()


@pytest.mark.parametrize("model", FEATURES)
def test_a_message_is_answered_with_its_usage(
    client: anthropic.Anthropic, provider: LoopbackProvider, model: str
) -> None:
    provider.always(Text("Good morning.", usage=Usage(30, 5, cached_tokens=10)))

    whole, stream = ask(client, model), streamed(client, model)

    for message in (whole, stream):
        assert (message.content[0].text, message.stop_reason) == ("Good morning.", "end_turn")
        assert (message.model, message.role) == (model, "assistant")
        assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (20, 10)
        assert message.usage.output_tokens == 5
    assert whole._request_id.startswith("req_")


@pytest.mark.parametrize("model", FEATURES)
@pytest.mark.parametrize("way", [ask, streamed])
def test_a_tool_is_called_and_its_result_understood(
    client: anthropic.Anthropic, provider: LoopbackProvider, model: str, way: Any
) -> None:
    provider.script(CALL, Text("A panel in a studio."))

    first = way(client, model, tools=[TOOL])
    (call,) = [block for block in first.content if block.type == "tool_use"]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "a panel in a studio"}
    turns = [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = way(client, model, [*HELLO, *turns], tools=[TOOL])

    assert (first.stop_reason, call.name, call.input) == ("tool_use", "look_up", {"word": "patchbay"})
    assert second.content[-1].text == "A panel in a studio."
    assert "a panel in a studio" in json.dumps(provider.requests[-1].body)


@pytest.mark.parametrize("model", FEATURES)
def test_what_was_used_of_the_prompt_is_told_at_the_beginning(
    client: anthropic.Anthropic, model: str
) -> None:
    with client.messages.create(model=model, max_tokens=50, messages=HELLO * 20, stream=True) as events:
        first = next(iter(events))

    assert first.type == "message_start"
    assert first.message.usage.input_tokens > 20


def test_two_calls_at_a_time_come_as_two_blocks(
    client: anthropic.Anthropic, provider: LoopbackProvider
) -> None:
    provider.script(ToolCalls((("look_up", {"word": "one"}), ("look_up", {"word": "two"}))))

    message = streamed(client, "chat", tools=[TOOL])

    assert [block.input for block in message.content] == [{"word": "one"}, {"word": "two"}]
    assert len({block.id for block in message.content}) == 2


def test_what_a_system_says_comes_before_and_between(
    client: anthropic.Anthropic, provider: LoopbackProvider
) -> None:
    between = [*HELLO, {"role": "system", "content": "The office is closed."}]

    ask(client, "chat", between, system=[{"type": "text", "text": "Be brief.", "cache_control": MARK}])

    said = json.dumps(provider.requests[-1].body["messages"])
    assert "Be brief." in said
    assert "The office is closed." in said


def test_marks_for_the_cache_reach_anthropic(client: anthropic.Anthropic, provider: LoopbackProvider) -> None:
    system = [{"type": "text", "text": "Be brief.", "cache_control": MARK}]
    call = {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"word": "x"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "found", "cache_control": MARK}
    turns = [*HELLO, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]

    ask(client, "claude", turns, system=system, tools=[{**TOOL, "cache_control": MARK}])

    body = provider.requests[-1].body
    assert body["system"][-1]["cache_control"] == MARK
    assert body["tools"][-1]["cache_control"] == MARK
    assert body["messages"][-1]["content"][-1]["cache_control"] == MARK


def test_marks_for_the_cache_do_not_reach_others(
    client: anthropic.Anthropic, provider: LoopbackProvider
) -> None:
    system = [{"type": "text", "text": "Be brief.", "cache_control": MARK}]

    for model in ("chat", "gemini"):
        ask(client, model, system=system, tools=[{**TOOL, "cache_control": MARK}])

        assert "cache_control" not in json.dumps(provider.requests[-1].body)


def test_pictures_are_seen(client: anthropic.Anthropic, provider: LoopbackProvider) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PICTURE}
    look = [{"role": "user", "content": [{"type": "image", "source": source}, {"type": "text", "text": "?"}]}]

    for model in FEATURES:
        ask(client, model, look)

        assert PICTURE in json.dumps(provider.requests[-1].body)


@pytest.mark.parametrize("way", [ask, streamed])
def test_what_claude_thought_goes_back_to_anthropic_alone(
    client: anthropic.Anthropic, provider: LoopbackProvider, way: Any
) -> None:
    more: Any = {"tools": [TOOL], "thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}
    provider.script(CALL)
    first = way(client, "claude", **more)
    (call,) = [block for block in first.content if block.type == "tool_use"]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "found"}
    turns = [
        *HELLO,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result]},
    ]

    way(client, "claude", turns, **more)
    (thought, *_) = provider.requests[-1].body["messages"][1]["content"]
    way(client, "gemini", turns, **more)

    assert first.content[0].type == "thinking"
    assert thought["type"] == "thinking"
    assert thought["signature"].startswith("c2ln")
    assert thought["signature"] not in json.dumps(provider.requests[-1].body)


def test_an_answer_has_the_form_that_is_asked_for(
    client: anthropic.Anthropic, provider: LoopbackProvider
) -> None:
    schema = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
    provider.script(Json({"colour": "grey"}))

    message = ask(client, "chat", output_config={"format": {"type": "json_schema", "schema": schema}})

    assert json.loads(message.content[0].text) == {"colour": "grey"}


def test_tools_that_only_anthropic_runs_are_left_out_and_named(client: anthropic.Anthropic) -> None:
    hosted: Any = {"type": "web_search_20260209", "name": "web_search"}

    raw = client.messages.with_raw_response.create(
        model="chat", max_tokens=50, messages=HELLO, tools=[hosted, TOOL]
    )

    assert raw.headers["x-patchbay-ignored"] == "tools.web_search_20260209"
    assert raw.headers["x-patchbay-receipt-id"] in raw.parse().id


def test_both_ways_to_send_a_token_are_taken(edge: Edge) -> None:
    in_own_header = anthropic.Anthropic(base_url=edge.anthropic_url, api_key=edge.token)
    as_bearer = anthropic.Anthropic(base_url=edge.anthropic_url, auth_token=edge.token)

    for made in (in_own_header, as_bearer):
        with made as client:
            assert ask(client, "chat").content


def test_a_wrong_token_is_told_in_anthropics_words(edge: Edge) -> None:
    canary = "sk-canary-0123456789"
    with (
        anthropic.Anthropic(base_url=edge.anthropic_url, api_key=canary, max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError) as caught,
    ):
        ask(client, "chat")

    assert error_of(caught)["type"] == "error"
    assert error_of(caught)["error"]["type"] == "authentication_error"
    assert canary not in json.dumps(error_of(caught))


def test_an_unknown_model_is_not_found(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        ask(client, "chatt")

    assert error_of(caught)["error"]["type"] == "not_found_error"
    assert "chat" in error_of(caught)["error"]["message"]
    assert error_of(caught)["request_id"] == caught.value.request_id


@pytest.mark.parametrize(
    ("reply", "status", "kind"),
    [
        (Status(429, retry_after=3), 429, "rate_limit_error"),
        (Status(400, message="no"), 400, "invalid_request_error"),
        (Status(404), 502, "api_error"),
        (Status(401), 502, "api_error"),
    ],
)
def test_what_the_provider_refuses_is_told_in_anthropics_words(
    stranger: anthropic.Anthropic, provider: LoopbackProvider, reply: Status, status: int, kind: str
) -> None:
    provider.always(reply)

    with pytest.raises(anthropic.APIStatusError) as caught:
        ask(stranger, "gemini")

    assert (caught.value.status_code, error_of(caught)["error"]["type"]) == (status, kind)


def test_a_prompt_that_is_too_long_is_told_in_the_words_that_clients_look_for(
    client: anthropic.Anthropic, provider: LoopbackProvider
) -> None:
    provider.always(Status(400, error_code="context_length_exceeded"))

    with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
        ask(client, "chat")


def test_a_stream_that_breaks_is_an_error_of_the_sdk(
    stranger: anthropic.Anthropic, provider: LoopbackProvider
) -> None:
    provider.always(Cut(2, "one two three four"))

    with pytest.raises(anthropic.APIStatusError) as caught:
        streamed(stranger, "chat")

    assert error_of(caught)["error"]["type"] == "api_error"


def test_tokens_are_counted_for_every_model(client: anthropic.Anthropic, provider: LoopbackProvider) -> None:
    counts = [
        client.messages.count_tokens(model=model, messages=HELLO, system="Be brief.", tools=[TOOL])
        for model in FEATURES
    ]

    assert len({count.input_tokens for count in counts}) == 1
    assert counts[0].input_tokens > 10
    assert not provider.requests
    with pytest.raises(anthropic.NotFoundError):
        client.messages.count_tokens(model="nobody", messages=HELLO)


def test_the_models_are_features_and_groups(client: anthropic.Anthropic) -> None:
    names = [model.id for model in client.models.list()]

    assert set(FEATURES) <= set(names)
    assert client.models.retrieve("chat").display_name
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("nobody")


async def test_the_asynchronous_client_streams_and_leaves(edge: Edge, provider: LoopbackProvider) -> None:
    provider.always(Text("Good morning to you all.", chunks=5))
    async with anthropic.AsyncAnthropic(
        base_url=edge.anthropic_url, api_key=edge.token, max_retries=0
    ) as client:
        async with client.messages.stream(model="claude", max_tokens=50, messages=HELLO) as stream:
            first = await anext(stream.text_stream)
        async with client.messages.stream(model="claude", max_tokens=50, messages=HELLO) as stream:
            text = await stream.get_final_text()

    assert first
    assert text == "Good morning to you all."
