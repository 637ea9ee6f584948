"""What all wires have in common at the HTTP edge, and the plain completion."""

from __future__ import annotations

import gzip
import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from backend.tests.fakes.keys import keychain
from backend.tests.fakes.services import ANN, services
from backend.tests.unit.wires.streams import read_events
from backend.utils.llm.caller import current_caller
from backend.utils.llm.receipt import TokenUsage
from backend.utils.llm.testing import Status, Text, ToolCalls
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.wires.answer import Answer, Choice, ChoiceFinished, ChoiceStarted, TextDelta
from backend.wires.bodies import LONGEST
from backend.wires.responders import ListedModel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable

    import httpx2

    from backend.utils.llm.testing import LoopbackProvider
    from backend.wires.answer import Event
    from backend.wires.request import CompletionRequest
    from backend.wires.responders import Responder

    from .conftest import Connect

ADMIN = {"authorization": "Bearer token-of-admin"}
FEATURES = {"chat": "openai:gpt-6-luna", "told": "group:fast"}
GROUPS = '[groups.fast]\nendpoints = ["openai:gpt-6-luna"]'
HELLO = [{"role": "user", "content": "Hello?"}]
CHAT = {"model": "chat", "messages": HELLO}
RESPONSES = {"model": "chat", "input": "Hello?"}
MESSAGES = {"model": "chat", "messages": HELLO, "max_tokens": 100}
WIRES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/responses": RESPONSES,
    "/v1/messages": MESSAGES,
    "/v1/complete": {"model_group": "fast", "messages": HELLO},
}
TOOL = {"type": "function", "function": {"name": "look_up"}}


class Parrot:
    """Answers with what it heard, and whose it was."""

    async def answer(self, request: CompletionRequest) -> Answer:
        return Answer([Choice(_said(request), usage=TokenUsage(1, 1))])

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Event]:
        yield ChoiceStarted()
        yield TextDelta(_said(request))
        yield ChoiceFinished("stop", TokenUsage(1, 1), {})


def _said(request: CompletionRequest) -> str:
    return f"{request.messages[-1].text} {current_caller().user_id}"


class Agents:
    """One agent, of Ann's."""

    def list_models(self) -> Iterable[ListedModel]:
        return [ListedModel("@parrot", "It repeats.")] if current_caller().user_id == "ann" else []

    def find_responder(self, name: str) -> Responder | None:
        return Parrot() if name == "@parrot" and current_caller().user_id == "ann" else None


@pytest.fixture
async def client(connect: Connect, provider: LoopbackProvider) -> AsyncIterator[httpx2.AsyncClient]:
    patchbay = loopback_patchbay(provider, FEATURES, GROUPS)
    made = connect(replace(services(), facade=patchbay, keychain=keychain({}), responder_sources=(Agents(),)))
    made.headers.update(ANN)
    yield made
    await patchbay.aclose()


@pytest.mark.parametrize("path", WIRES)
async def test_an_answer_names_its_request_and_its_receipt(
    client: httpx2.AsyncClient, provider: LoopbackProvider, path: str
) -> None:
    provider.always(Text("Good morning."))

    answer = await client.post(path, json=WIRES[path])

    assert answer.status_code == 200
    assert "Good morning." in answer.text
    assert answer.headers["x-request-id"].startswith("req_")
    assert len(answer.headers["x-patchbay-receipt-id"]) == 36
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", WIRES)
async def test_a_stream_names_them_too_and_is_never_kept(
    client: httpx2.AsyncClient, provider: LoopbackProvider, path: str
) -> None:
    provider.always(Text("Good morning."))

    answer = await client.post(path, json=WIRES[path] | {"stream": True})

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert len(answer.headers["x-patchbay-receipt-id"]) == 36
    assert len(read_events(answer.content)) > 3


@pytest.mark.parametrize("path", WIRES)
@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"authorization": "Bearer x"}, b"{}", 401),
        ({"content-type": "text/plain"}, b"{}", 415),
        ({"content-encoding": "br"}, b"{}", 415),
        ({"content-encoding": "gzip"}, b"{}", 400),
        ({"content-encoding": "gzip"}, gzip.compress(b"[" + b" " * LONGEST + b"]"), 413),
        ({}, b"{", 400),
        ({}, b"[]", 400),
        ({}, b"{}", 400),
    ],
    ids=["token", "text", "packing", "not packed", "bomb", "no JSON", "no object", "empty"],
)
async def test_what_is_no_request_is_refused_in_the_wires_shape(
    client: httpx2.AsyncClient, path: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    answer = await client.post(path, content=body, headers={"content-type": "application/json"} | headers)

    said = answer.json()["error"]
    assert answer.status_code == status
    assert said["message"]
    assert said.keys() >= ({"type"} if path == "/v1/messages" else {"code", "param"})
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("path", WIRES)
async def test_a_packed_body_is_unpacked(
    client: httpx2.AsyncClient, provider: LoopbackProvider, path: str
) -> None:
    provider.always(Text("Good morning."))
    packed = gzip.compress(json.dumps(WIRES[path]).encode())
    headers = {"content-type": "application/json", "content-encoding": "gzip"}

    assert (await client.post(path, content=packed, headers=headers)).status_code == 200


@pytest.mark.parametrize("path", WIRES)
async def test_whoever_wants_all_or_nothing_is_refused_what_is_not_served(
    client: httpx2.AsyncClient, provider: LoopbackProvider, path: str
) -> None:
    provider.always(Text("Good morning."))
    body = WIRES[path] | {"frobnicate": 1}

    lenient = await client.post(path, json=body)
    strict = await client.post(path, json=body, headers={"x-patchbay-strict": "true"})

    assert lenient.headers["x-patchbay-ignored"] == "frobnicate"
    assert strict.status_code == 400
    assert "frobnicate" in strict.json()["error"]["message"]
    assert len(provider.requests) == 1


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("path", WIRES)
async def test_whoever_wants_all_or_nothing_is_refused_what_no_endpoint_takes(
    client: httpx2.AsyncClient, provider: LoopbackProvider, path: str, *, streams: bool
) -> None:
    body = WIRES[path] | {"temperature": 0.5, "stream": streams}

    strict = await client.post(path, json=body, headers={"x-patchbay-strict": "true"})

    assert strict.status_code == 422
    assert "temperature" in strict.json()["error"]["message"]
    assert not provider.requests


async def test_a_fault_that_nobody_foresaw_tells_nothing(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Agents):
        def find_responder(self, name: str) -> Responder | None:
            raise RuntimeError(name)

    client = connect(replace(services(), responder_sources=(Broken(),)))
    with caplog.at_level(logging.ERROR):
        answer = await client.post("/v1/chat/completions", json=CHAT | {"model": "secret"}, headers=ANN)

    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert "secret" not in answer.text
    assert "http.internal_error" in caplog.text


# Others' models --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
@pytest.mark.parametrize("stream", [False, True])
async def test_whoever_is_registered_answers_over_every_wire(
    client: httpx2.AsyncClient, path: str, *, stream: bool
) -> None:
    answer = await client.post(path, json=WIRES[path] | {"model": "@parrot", "stream": stream})

    assert answer.status_code == 200
    assert "Hello? ann" in answer.text


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "path", [*WIRES, "/v1/messages/count_tokens", "/v1/messages/batches", "/v1/responses/r/cancel"]
)
async def test_what_a_wire_does_not_have_is_refused_in_its_shape(
    client: httpx2.AsyncClient, path: str, method: str
) -> None:
    answer = await client.request(method, path)

    assert answer.status_code in {404, 405}
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    if method != "HEAD":
        keys = {"type", "error", "request_id"} if path.startswith("/v1/messages") else {"error"}
        assert answer.json().keys() == keys
        assert "message" in answer.json()["error"]


async def test_what_is_below_no_wire_has_the_services_own_shape(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/messages_of_others")

    assert answer.json() == {"error": {"code": "not_found", "message": "Not Found"}}


async def test_models_of_others_are_listed_for_those_who_may_use_them(client: httpx2.AsyncClient) -> None:
    anns = (await client.get("/v1/models")).json()["data"]
    admins = (await client.get("/v1/models", headers=ADMIN)).json()["data"]

    assert [model["id"] for model in anns] == ["chat", "told", "group:fast", "@parrot"]
    assert [model["id"] for model in admins] == ["chat", "told", "group:fast"]
    assert (await client.get("/v1/models/@parrot")).json()["description"] == "It repeats."
    assert (await client.get("/v1/models/group:fast")).json()["id"] == "group:fast"
    assert (await client.get("/v1/models/@parrot", headers=ADMIN)).status_code == 404


# The plain completion ---------------------------------------------------------------------------------------------------


async def test_a_plain_completion_is_text_and_calls(
    client: httpx2.AsyncClient, provider: LoopbackProvider
) -> None:
    provider.script(Text("Good morning."), ToolCalls((("look_up", {"word": "bay"}),)))
    body = {"model_group": "fast", "messages": HELLO}

    text = (await client.post("/v1/complete", json=body)).json()
    calls = (await client.post("/v1/complete", json=body | {"tools": [TOOL]})).json()

    assert (text["content"], text["tool_calls"], text["finish_reason"]) == ("Good morning.", [], "stop")
    assert text["model"] == "openai:gpt-6-luna"
    assert text["usage"]["output"] > 0
    (call,) = calls["tool_calls"]
    assert call["function"] == {"name": "look_up", "arguments": '{"word": "bay"}'}
    assert "tools" not in provider.requests[0].body


async def test_a_group_that_is_not_there_is_not_found_and_the_nearest_named(
    client: httpx2.AsyncClient,
) -> None:
    answer = await client.post("/v1/complete", json={"model_group": "fats", "messages": HELLO})

    assert answer.status_code == 404
    assert "`group:fast`" in answer.json()["error"]["message"]


async def test_only_an_admin_names_a_tenant(client: httpx2.AsyncClient, provider: LoopbackProvider) -> None:
    provider.always(Text("Good morning."))
    body = {"model_group": "fast", "messages": HELLO, "tenant_id": "t1"}

    anns = await client.post("/v1/complete", json=body)
    admins = await client.post("/v1/complete", json=body, headers=ADMIN)

    assert (anns.status_code, anns.json()["error"]["code"]) == (403, "tenant_not_allowed")
    assert admins.status_code == 200


async def test_all_endpoints_that_fail_are_a_fault_with_the_calls_id(
    client: httpx2.AsyncClient, provider: LoopbackProvider
) -> None:
    provider.always(Status(429, retry_after=30))

    answer = await client.post("/v1/complete", json={"model_group": "fast", "messages": HELLO})

    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 29
    assert answer.headers["x-patchbay-receipt-id"] == answer.json()["error"]["call_id"]


# Names that are no names ------------------------------------------------------------------------------------------------

ENDLESS = "a" * 100_000


@pytest.mark.parametrize(
    ("query", "names", "has_more"),
    [
        ("", ["chat", "told", "group:fast", "@parrot"], False),
        ("?limit=1", ["chat"], True),
        ("?limit=2&after_id=chat", ["told", "group:fast"], True),
        ("?after_id=group:fast", ["@parrot"], False),
        ("?limit=1&before_id=group:fast", ["told"], True),
        ("?after_id=@parrot", [], False),
    ],
)
async def test_models_come_in_pages_to_clients_of_anthropic(
    client: httpx2.AsyncClient, query: str, names: list[str], *, has_more: bool
) -> None:
    page = (await client.get(f"/v1/models{query}", headers={"anthropic-version": "2023-06-01"})).json()

    assert [model["id"] for model in page["data"]] == names
    assert page["has_more"] is has_more
    assert [page["first_id"], page["last_id"]] == ([names[0], names[-1]] if names else [None, None])


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/v1/models/nobody", 404, "not_found_error"),
        ("/v1/models?after_id=nobody", 400, "invalid_request_error"),
        ("/v1/models?limit=0", 400, "invalid_request_error"),
        ("/v1/models?limit=1001", 400, "invalid_request_error"),
        ("/v1/models?limit=few", 400, "invalid_request_error"),
    ],
)
async def test_errors_about_models_have_the_shape_of_the_client(
    client: httpx2.AsyncClient, path: str, status: int, kind: str
) -> None:
    anthropics = await client.get(path, headers={"anthropic-version": "2023-06-01"})

    assert (anthropics.status_code, anthropics.json()["error"]["type"]) == (status, kind)
    assert anthropics.json()["request_id"] == anthropics.headers["request-id"]
    assert "request_id" not in (await client.get("/v1/models/nobody")).json()


@pytest.mark.parametrize("limit", ["0", "1001", "few"])
async def test_a_limit_means_nothing_to_clients_of_openai(client: httpx2.AsyncClient, limit: str) -> None:
    answer = await client.get("/v1/models", params={"limit": limit})

    assert answer.status_code == 200
    assert len(answer.json()["data"]) == 4


@pytest.mark.parametrize("path", [*WIRES, "/v1/messages/count_tokens"])
async def test_a_model_s_name_without_end_is_refused_and_compared_with_nothing(
    client: httpx2.AsyncClient, path: str
) -> None:
    body = WIRES.get(path, MESSAGES)
    field = "model_group" if "model_group" in body else "model"

    answer = await client.post(path, json=body | {field: ENDLESS})

    said = answer.json()["error"]
    assert answer.status_code == 400
    assert said.get("param", field) == field
    assert said["message"].startswith((f"`{field}`", f"{field}:"))
    assert "200 characters" in said["message"]
    assert len(answer.content) < 400


async def test_a_model_s_name_without_end_is_not_found_by_its_address(client: httpx2.AsyncClient) -> None:
    answer = await client.get(f"/v1/models/{ENDLESS[:60_000]}")

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert len(answer.content) < 400


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
async def test_a_tool_s_name_without_end_is_not_told_back(client: httpx2.AsyncClient, path: str) -> None:
    is_chat = path == "/v1/chat/completions"
    tool = TOOL if is_chat else {"type": "function", "name": "look_up"}
    choice = {"type": "function", "name": ENDLESS, "function": {"name": ENDLESS}}

    answer = await client.post(path, json=WIRES[path] | {"tools": [tool], "tool_choice": choice})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tool_choice")
    assert len(answer.content) < 400


# Files that are only named ----------------------------------------------------------------------------------------------

NAMED_FILES: dict[str, tuple[str, Any, str]] = {
    "chat": (
        "/v1/chat/completions",
        {"type": "file", "file": {"file_id": "file-of-another"}},
        "[0].content[0]",
    ),
    "plain": ("/v1/complete", {"type": "file", "file": {"file_id": "file-of-another"}}, "[0].content[0]"),
    "responses": ("/v1/responses", {"type": "input_image", "file_id": "file-of-another"}, "[0].content[0]"),
    "messages": (
        "/v1/messages",
        {"type": "document", "source": {"type": "file", "file_id": "file_of_another"}},
        ".0.content.0",
    ),
    "count": (
        "/v1/messages/count_tokens",
        {"type": "document", "source": {"type": "file", "file_id": "file_of_another"}},
        ".0.content.0",
    ),
}


@pytest.mark.parametrize(("path", "part", "place"), NAMED_FILES.values(), ids=NAMED_FILES)
async def test_a_file_that_is_only_named_is_not_opened_with_the_house_s_key(
    client: httpx2.AsyncClient, provider: LoopbackProvider, path: str, part: Any, place: str
) -> None:
    said = [{"role": "user", "content": [part]}]
    field = "input" if path == "/v1/responses" else "messages"

    answer = await client.post(path, json=WIRES.get(path, MESSAGES) | {field: said})

    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error["message"].startswith(f"{field}{place}: A file can be named")
    assert error.get("param", f"{field}{place}") == f"{field}{place}"
    assert not provider.requests


async def test_whoever_pays_with_a_key_of_their_own_may_name_their_files(
    connect: Connect, provider: LoopbackProvider
) -> None:
    provider.always(Text("Good morning."))
    patchbay = loopback_patchbay(provider, FEATURES, GROUPS)
    client = connect(replace(services(), facade=patchbay, keychain=keychain()))
    path, part, _ = NAMED_FILES["chat"]
    body = CHAT | {"messages": [{"role": "user", "content": [part]}]}

    answer = await client.post(path, json=body, headers=ANN | {"x-byok-openai": "sk-of-ann"})

    assert answer.status_code == 200
    assert "file-of-another" in str(provider.requests[0].body)
    await patchbay.aclose()
