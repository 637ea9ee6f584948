"""OpenAI's own SDK for Python, unmodified, speaks to features."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import openai
import pytest
from pydantic import BaseModel

from backend.tests.fakes.edges import loopback_edge
from backend.utils.llm.testing import Cut, Hang, Json, LoopbackProvider, Status, Text, ToolCalls, Trickle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.tests.fakes.edges import Edge

FEATURES = {
    "chat": "openai:gpt-6-luna",
    "claude": "anthropic:claude-haiku-5-5",
    "warm": "openai:gpt-4.1",
}
HELLO: Any = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    },
}
PICTURE = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(scope="module")
def provider() -> Iterator[LoopbackProvider]:
    with LoopbackProvider() as running:
        yield running


@pytest.fixture(scope="module")
def edge(provider: LoopbackProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with loopback_edge(provider, tmp_path_factory.mktemp("edge"), FEATURES) as running:
        yield running


@pytest.fixture
def client(edge: Edge, provider: LoopbackProvider) -> Iterator[openai.OpenAI]:
    provider.clear()
    with openai.OpenAI(base_url=edge.openai_url, api_key=edge.token, max_retries=0) as made:
        yield made


def test_a_chat_is_answered_with_usage_and_the_receipts_id(
    client: openai.OpenAI, provider: LoopbackProvider
) -> None:
    provider.always(Text("Good morning."))

    raw = client.chat.completions.with_raw_response.create(model="chat", messages=HELLO)
    answer = raw.parse()

    assert answer.choices[0].message.content == "Good morning."
    assert (answer.model, answer.object, answer.choices[0].finish_reason) == (
        "chat",
        "chat.completion",
        "stop",
    )
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert answer.id == f"chatcmpl-{raw.headers['x-patchbay-receipt-id']}"
    assert raw.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("model", ["chat", "claude"])
def test_a_chat_streams_and_tells_what_was_used(
    client: openai.OpenAI, provider: LoopbackProvider, model: str
) -> None:
    provider.always(Text("Good morning to you."))

    chunks = list(
        client.chat.completions.create(
            model=model, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "Good morning to you."
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0
    assert chunks[-1].choices == []


def test_without_a_wish_for_it_usage_comes_with_the_last_chunk(
    client: openai.OpenAI, provider: LoopbackProvider
) -> None:
    provider.always(Text("Good morning."))

    chunks = list(client.chat.completions.create(model="chat", messages=HELLO, stream=True))

    assert all(len(chunk.choices) == 1 for chunk in chunks)
    assert chunks[-1].usage is not None
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("model", ["chat", "claude"])
def test_tools_are_called_and_their_results_answered(
    client: openai.OpenAI, provider: LoopbackProvider, model: str
) -> None:
    provider.script(
        ToolCalls((("look_up", {"word": "patch"}), ("look_up", {"word": "bay"}))), Text("A panel.")
    )

    with client.chat.completions.stream(
        model=model, messages=HELLO, tools=[TOOL], tool_choice="required", parallel_tool_calls=True
    ) as stream:
        asked = stream.get_final_completion().choices[0]
    calls = asked.message.tool_calls or []
    results: Any = [
        {"role": "tool", "tool_call_id": call.id, "content": f"about {call.function.arguments}"}
        for call in calls
    ]
    turn: Any = {"role": "assistant", "tool_calls": [call.model_dump() for call in calls]}
    answer = client.chat.completions.create(model=model, messages=[*HELLO, turn, *results], tools=[TOOL])

    assert asked.finish_reason == "tool_calls"
    assert [call.function.arguments.replace(" ", "") for call in calls] == [
        '{"word":"patch"}',
        '{"word":"bay"}',
    ]
    assert answer.choices[0].message.content == "A panel."


def test_an_answer_fits_the_schema_that_was_asked_for(
    client: openai.OpenAI, provider: LoopbackProvider
) -> None:
    class Panel(BaseModel):
        colour: str

    provider.always(Json({"colour": "grey"}))

    parsed = client.chat.completions.parse(model="chat", messages=HELLO, response_format=Panel)
    plain = client.chat.completions.create(
        model="chat", messages=HELLO, response_format={"type": "json_object"}
    )
    with client.chat.completions.stream(model="chat", messages=HELLO, response_format=Panel) as stream:
        streamed = stream.get_final_completion()

    assert parsed.choices[0].message.parsed == Panel(colour="grey")
    assert streamed.choices[0].message.parsed == Panel(colour="grey")
    assert plain.choices[0].message.content == '{"colour": "grey"}'


def test_a_picture_reaches_the_model(client: openai.OpenAI, provider: LoopbackProvider) -> None:
    provider.always(Text("Grey."))
    parts: Any = [
        {"type": "text", "text": "Which colour?"},
        {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}},
    ]

    client.chat.completions.create(model="chat", messages=[{"role": "user", "content": parts}])

    assert provider.requests[-1].body["messages"][0]["content"][1]["image_url"]["url"] == PICTURE


def test_several_choices_stand_side_by_side(client: openai.OpenAI, provider: LoopbackProvider) -> None:
    provider.always(Text("Good morning."))

    whole = client.chat.completions.create(model="chat", messages=HELLO, n=2)
    chunks = list(client.chat.completions.create(model="chat", messages=HELLO, n=2, stream=True))

    assert [choice.index for choice in whole.choices] == [0, 1]
    texts = ["", ""]
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == ["Good morning."] * 2


def test_options_reach_the_provider(client: openai.OpenAI, provider: LoopbackProvider) -> None:
    provider.always(Text("Good morning."))

    raw = client.chat.completions.with_raw_response.create(
        model="warm",
        messages=HELLO,
        temperature=0.5,
        max_tokens=99,
        stop=["\n\n"],
        frequency_penalty=0.5,
    )

    sent = provider.requests[-1].body
    assert (sent["temperature"], sent["max_completion_tokens"], sent["stop"]) == (0.5, 99, ["\n\n"])
    assert raw.headers["x-patchbay-ignored"] == "frequency_penalty"


def test_the_receipt_stands_in_the_body_if_that_is_asked_for(
    client: openai.OpenAI, provider: LoopbackProvider
) -> None:
    provider.always(Text("Good morning."))
    wanted = {"x-patchbay-receipt": "body"}

    whole: Any = client.chat.completions.create(model="chat", messages=HELLO, extra_headers=wanted)
    chunks: Any = list(
        client.chat.completions.create(model="chat", messages=HELLO, stream=True, extra_headers=wanted)
    )

    assert whole.patchbay["receipts"][0]["endpoint"] == "openai:gpt-6-luna"
    assert chunks[-1].patchbay["receipts"][0]["endpoint"] == "openai:gpt-6-luna"


def test_an_unknown_model_is_not_found_in_openais_words(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model="gpt-4o", messages=HELLO)

    assert refused.value.code == "model_not_found"
    assert refused.value.param == "model"
    assert "The model `gpt-4o` does not exist" in str(refused.value)


def test_features_and_groups_are_listed_as_models(client: openai.OpenAI) -> None:
    listed = [model.id for model in client.models.list()]

    assert [name for name in listed if not name.startswith("@")] == list(FEATURES)
    assert client.models.retrieve("claude").object == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4o")


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_is_said_in_openais_words(
    client: openai.OpenAI, provider: LoopbackProvider, *, stream: bool
) -> None:
    provider.always(Status(400, error_code="context_length_exceeded"))

    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="chat", messages=HELLO, stream=stream)

    assert refused.value.code == "context_length_exceeded"
    assert refused.value.request_id is not None


def test_a_stream_that_breaks_raises_in_the_sdk(client: openai.OpenAI, provider: LoopbackProvider) -> None:
    provider.always(Cut(3, "Good morning to all of you."))

    with pytest.raises(openai.APIError, match="broke"):
        list(client.chat.completions.create(model="chat", messages=HELLO, stream=True))


def test_a_request_without_a_token_is_refused_in_openais_words(edge: Edge) -> None:
    with (
        openai.OpenAI(base_url=edge.openai_url, api_key="nobodys", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as refused,
    ):
        stranger.chat.completions.create(model="chat", messages=HELLO)

    assert refused.value.code == "invalid_api_key"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "messages[0].content[0].type"),
        ({"n": 9}, "n"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"logprobs": "yes"}, "logprobs"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
        ({"tools": [TOOL, TOOL]}, "tools"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"stop": [1]}, "stop"),
        ({"functions": [{"name": "look_up"}]}, "functions"),
    ],
)
def test_what_is_wrong_is_told_by_its_place(client: openai.OpenAI, more: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.post("/chat/completions", cast_to=object, body={"model": "chat", "messages": HELLO} | more)

    assert refused.value.param == param
    assert refused.value.type == "invalid_request_error"


def test_probabilities_that_nobody_tells_are_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.chat.completions.create(model="claude", messages=HELLO, logprobs=True)

    assert refused.value.code == "no_endpoint"


async def test_a_client_that_leaves_ends_the_providers_request(
    edge: Edge, provider: LoopbackProvider
) -> None:
    provider.clear()
    provider.always(Trickle(Text("word " * 1000), 0.01))
    async with openai.AsyncOpenAI(base_url=edge.openai_url, api_key=edge.token, max_retries=0) as client:
        stream = await client.chat.completions.create(model="chat", messages=HELLO, stream=True)
        await anext(aiter(stream))
        await stream.close()

    assert provider.wait_until(lambda seen: bool(seen) and seen[-1].closed_by_client)


# Responses -----------------------------------------------------------------------------------------------------------

LOOK_UP: Any = {"type": "function", "strict": False, **TOOL["function"]}


def test_a_response_is_answered(client: openai.OpenAI, provider: LoopbackProvider) -> None:
    provider.always(Text("Good morning."))

    raw = client.responses.with_raw_response.create(
        model="chat", input="Hello?", instructions="Be brief.", include=["reasoning.encrypted_content"]
    )
    response = raw.parse()

    assert response.output_text == "Good morning."
    assert (response.status, response.model) == ("completed", "chat")
    assert response.usage is not None
    assert response.usage.output_tokens > 0
    assert response.id == f"resp_{raw.headers['x-patchbay-receipt-id']}"


@pytest.mark.parametrize("model", ["chat", "claude"])
def test_a_response_calls_tools_and_goes_on(
    client: openai.OpenAI, provider: LoopbackProvider, model: str
) -> None:
    provider.script(ToolCalls((("look_up", {"word": "patch"}),)), Text("A panel."))
    tools: Any = [LOOK_UP, {"type": "web_search"}]

    with client.responses.stream(model=model, input="Hello?", tools=tools, store=False) as stream:
        kinds = [event.type for event in stream]
        asked = stream.get_final_response()
    calls: Any = [item.model_dump(exclude_none=True) for item in asked.output]
    result: Any = {"type": "function_call_output", "call_id": calls[-1]["call_id"], "output": "a panel"}
    history: Any = [{"role": "user", "content": "Hello?"}, *calls, result]
    answer = client.responses.create(model=model, input=history, tools=tools, store=False)

    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert calls[-1]["name"] == "look_up"
    assert answer.output_text == "A panel."


def test_a_response_fits_the_schema_that_was_asked_for(
    client: openai.OpenAI, provider: LoopbackProvider
) -> None:
    class Panel(BaseModel):
        colour: str

    provider.always(Json({"colour": "grey"}))

    response = client.responses.parse(model="chat", input="Hello?", text_format=Panel)

    assert response.output_parsed == Panel(colour="grey")


def test_a_response_that_would_need_a_memory_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="chat", input="Hello?", previous_response_id="resp_1")

    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", "previous_response_id")


@pytest.mark.parametrize(("headers", "status"), [({}, 405), ({"upgrade": "websocket"}, 426)])
def test_no_websocket_is_opened(client: openai.OpenAI, headers: dict[str, str], status: int) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        client.get("/responses", cast_to=object, options={"headers": headers})

    assert refused.value.status_code == status
    assert refused.value.type == "invalid_request_error"


def test_a_strict_tool_reaches_every_provider(client: openai.OpenAI, provider: LoopbackProvider) -> None:
    provider.always(ToolCalls((("look_up", {"word": "patch"}),)))
    parameters = TOOL["function"]["parameters"] | {"additionalProperties": False}
    strict: Any = LOOK_UP | {"strict": True, "parameters": parameters}

    for model in ("chat", "claude"):
        response = client.responses.create(model=model, input="Hello?", tools=[strict], store=False)
        assert response.output[-1].type == "function_call"


@pytest.mark.parametrize("choices", [1, 3])
async def test_a_client_that_gives_up_ends_what_it_waited_for(
    edge: Edge, provider: LoopbackProvider, choices: int
) -> None:
    provider.clear()
    provider.always(Hang())
    async with openai.AsyncOpenAI(base_url=edge.openai_url, api_key=edge.token, max_retries=0) as client:
        waiting = asyncio.create_task(client.chat.completions.create(model="chat", messages=HELLO, n=choices))
        assert await asyncio.to_thread(provider.wait_until, lambda seen: len(seen) == choices)
        waiting.cancel()
        await asyncio.wait([waiting])

    assert provider.wait_until(lambda seen: all(request.closed_by_client for request in seen))
