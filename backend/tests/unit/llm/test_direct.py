"""Past the SDK or through it: the same request, the same answer, the same failure.

This is what fails when an SDK, an adapter or an API changes.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel

from backend.tests.fakes.sdk import send_through_sdk
from backend.utils.llm.errors import LLMError
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.structured import schema_of
from backend.utils.llm.testing import (
    CleanEnd,
    Cut,
    Empty,
    Html,
    Json,
    LoopbackProvider,
    Raw,
    Refusal,
    Reply,
    Status,
    StreamError,
    Text,
    ToolCalls,
    WrongJson,
)
from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backend.utils.llm.patchbay import Patchbay

    from .drivers import Driver


CHAINS = {
    "chat": "openai:gpt-6-luna",
    "responses": "openai:gpt-6.1-sol",
    "gemini": "gemini:gemini-3.5-flash-lite",
    "anthropic": "anthropic:claude-opus-4-8",
}
_FOR_ADDRESSES = str.maketrans("+/", "-_")
ONCE = "[features.f]\nattempts = 1\n"
MORE = '[models."openai:gpt-6.1-sol"]\napi_mode = "responses"'
PIXEL = base64.b64encode(b"\x89PNG\xfb\xff and so on").decode()
NOT_COMPARED = {
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "user-agent",
}
"""Of a request's headers: what the transport sets, and the length, because the same JSON is written with and without
spaces. What an SDK tells of itself and of this machine is left out, too."""


class Weather(BaseModel):
    """What the weather is like."""

    city: str
    degrees: int


def look_up(city: str, days: int = 1) -> str:
    """The forecast for a city."""
    return f"{city}, {days}"


CALL = {"name": "look_up", "args": {"city": "Rom"}, "id": "call_1", "type": "tool_call"}
QUESTIONS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "a text": ("Grüße, 你好 \U0001f600 \u2028", lambda model: model),
    "a system's word": ([SystemMessage("be brief"), HumanMessage("hi")], lambda model: model),
    "a conversation": (["hi", AIMessage("yes?"), HumanMessage("go on")], lambda model: model),
    "options": ("hi", lambda model: model.bind(max_output_tokens=99)),
    "effort": ("hi", lambda model: model.bind(effort="low")),
    "stop words": ("hi", lambda model: model.bind(stop=["x", "END"])),
    "safety": ("hi", lambda model: model.bind(safety={"harassment": "none"})),
    "tools": ("hi", lambda model: model.bind_tools([look_up])),
    "a tool that must be called": ("hi", lambda model: model.bind_tools([look_up], tool_choice="look_up")),
    "a tool's result": (
        ["hi", AIMessage("", tool_calls=[CALL]), ToolMessage("sunny", tool_call_id="call_1", name="look_up")],
        lambda model: model.bind_tools([look_up]),
    ),
    "a picture": (
        [
            HumanMessage(
                [
                    {"type": "text", "text": "what is it?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
                ]
            )
        ],
        lambda model: model,
    ),
    "a schema": ("hi", lambda model: model.bind(schema=schema_of(Weather))),
    "any JSON": ("hi", lambda model: model.bind(schema=schema_of(Weather, "json_mode"))),
}
ANSWERS: dict[str, Reply] = {
    "a text": Text("Grüße, 你好 \U0001f600"),
    "in pieces": Text("one two three four", chunks=4),
    "cut off": Text("one two", finish="length"),
    "calls of tools": ToolCalls((("look_up", {"city": "Rom"}),)),
    "an object": Json({"city": "Rom", "degrees": 21}),
}
FAILURES: dict[str, Reply] = {
    "400": Status(400),
    "401": Status(401),
    "404": Status(404),
    "429": Status(429, retry_after=7),
    "503": Status(503),
    "a redirect": Status(307, headers={"location": "http://127.0.0.1:9/"}),
    "a page": Html(),
    "wrong JSON": WrongJson(),
    "broken JSON": Raw(200, "{"),
    "a list": Raw(200, "[]"),
    "an error behind a 200": StreamError(1, "one two three", {"code": "server_error", "message": "no"}),
    "a refusal": Refusal("I will not.", by="model"),
    "a filter": Refusal("", by="filter"),
    "nothing": Empty(),
    "broken off": Cut(after_chunks=1, text="one two three"),
    "ended too soon": CleanEnd(after_chunks=1, text="one two three"),
}


OTHERWISE = {
    ("chat", "a refusal", "stream"): (FailureCategory.REFUSAL, FailureCategory.EMPTY),
    ("chat", "an error behind a 200", "invoke"): (FailureCategory.SERVER, FailureCategory.UNREADABLE),
    ("gemini", "a list", "invoke"): (FailureCategory.UNREADABLE, FailureCategory.EMPTY),
    ("gemini", "a list", "stream"): (FailureCategory.UNREADABLE, FailureCategory.INTERRUPTED),
    ("gemini", "a page", "stream"): (FailureCategory.INTERRUPTED, FailureCategory.UNREADABLE),
    ("gemini", "an error behind a 200", "invoke"): (FailureCategory.UNREADABLE, FailureCategory.EMPTY),
    **{
        (wire, failure, "stream"): (FailureCategory.UNREADABLE, FailureCategory.INTERRUPTED)
        for wire in ("chat", "responses", "anthropic")
        for failure in ("a list", "broken JSON")
    },
    ("anthropic", "wrong JSON", "stream"): (FailureCategory.UNREADABLE, FailureCategory.INTERRUPTED),
}
"""What has two names: past the SDK, and through it, which loses a refusal and an error's code, and takes a document for a stream."""


@pytest.fixture(params=CHAINS)
def wire(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def both(provider: LoopbackProvider, wire: str) -> tuple[Patchbay, Patchbay]:
    """The same table twice: past the SDK, and through it."""
    more = MORE if wire == "responses" else ""
    direct, sdk = (loopback_patchbay(provider, {"f": CHAINS[wire]}, ONCE + more) for _ in range(2))
    send_through_sdk(sdk)
    return direct, sdk


def told(patchbay: Patchbay, question: str, driver: Driver) -> Any:
    asked, bound = QUESTIONS[question]
    return driver(bound(patchbay.get_llm("f")), asked)


def comparable(answer: AIMessage) -> tuple[Any, Any]:
    """An answer without what differs from call to call."""
    said = answer.model_dump(exclude={"id", "response_metadata"})
    kept = {key: value for key, value in answer.response_metadata.items() if key not in {"receipt", "id"}}
    for call in [*said["tool_calls"], *said.get("tool_call_chunks", [])]:
        call["id"] = bool(call["id"])
    return present(said), present(kept)


def present(value: Any) -> Any:
    """``value`` without what is None, or an empty object: the SDK's objects hold every field of the API."""
    if isinstance(value, list):
        return [present(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {key: present(one) for key, one in value.items()}
    return {key: one for key, one in found.items() if one is not None and one != {}}


def in_the_apis_words(value: Any) -> Any:
    """``value`` as it is documented, without what goes without saying.

    Google's SDK leaves names as ``mime_type`` and writes base64 for addresses; the API takes both.
    """
    if isinstance(value, list):
        return [in_the_apis_words(one) for one in value]
    if value == PIXEL.translate(_FOR_ADDRESSES):
        return PIXEL
    if not isinstance(value, dict):
        return value
    renamed = {
        "mime_type": "mimeType",
        "parameters_json_schema": "parametersJsonSchema",
        "thinking_level": "thinkingLevel",
    }
    said = {key: one for key, one in value.items() if (key, one) != ("is_error", False)}
    return {renamed.get(key, key): in_the_apis_words(one) for key, one in said.items()}


def headers_of(sent: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in sent.items()
        if name not in NOT_COMPARED and not name.startswith(("x-stainless-", "x-goog-api-client"))
    }


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_request_is_the_same(provider: LoopbackProvider, wire: str, question: str, call: Driver) -> None:
    provider.always(Json({"city": "Rom", "degrees": 21}))

    for patchbay in both(provider, wire):
        told(patchbay, question, call)
        patchbay.close()

    direct, sdk = provider.requests
    assert in_the_apis_words(direct.body) == in_the_apis_words(sdk.body)
    assert (direct.method, direct.path, direct.stream) == (sdk.method, sdk.path, sdk.stream)
    assert headers_of(direct.headers) == headers_of(sdk.headers)


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_answer_is_the_same(provider: LoopbackProvider, wire: str, answer: str, call: Driver) -> None:
    provider.always(ANSWERS[answer])

    found = []
    for patchbay in both(provider, wire):
        found.append(comparable(told(patchbay, "tools", call)))
        patchbay.close()

    direct, sdk = found
    assert direct == sdk


@pytest.mark.parametrize("failure", FAILURES)
def test_the_failure_is_the_same(provider: LoopbackProvider, wire: str, failure: str, call: Driver) -> None:
    provider.always(FAILURES[failure])

    found = []
    for patchbay in both(provider, wire):
        found.append(outcome(patchbay, call))
        patchbay.close()

    direct, sdk = found
    names = OTHERWISE.get((wire, failure, call.__name__.lstrip("a")), (direct[0], direct[0]))
    assert (direct[0], sdk[0]) == names
    if names[0] == names[1]:
        assert direct[1:] == sdk[1:]


def outcome(patchbay: Patchbay, driver: Driver) -> tuple[Any, ...]:
    """What went wrong; the answer, if nothing did."""
    try:
        answer = told(patchbay, "a text", driver)
    except LLMError as error:
        (attempt,) = error.attempts
        return attempt.category, attempt.status, attempt.outcome
    return "answered", comparable(answer)[0]


def test_a_connection_is_kept_after_a_stream(provider: LoopbackProvider, wire: str) -> None:
    direct, sdk = both(provider, wire)
    sdk.close()

    for _ in range(3):
        list(direct.get_llm("f").stream("hi"))

    assert len(direct.runtime.transport.pools.get_sync_pool().connections) == 1
    direct.close()
