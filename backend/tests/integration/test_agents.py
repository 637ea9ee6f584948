"""The assistant over stored conversations, with the facade, a provider on the loopback interface, and a database."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from backend.access import DataOwner
from backend.conversations.sample import SAMPLE
from backend.conversations.store import Conversation
from backend.settings import Settings
from backend.tests.fakes.applications import application, client_of
from backend.utils.llm.testing import Status, Text, ToolCalls
from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx2
    from fastapi import FastAPI

    from backend.utils.llm.testing import LoopbackProvider

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
TITLE = "Budget"
ENDPOINTS = ["openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite", "anthropic:claude-sonnet-5-5"]


def wants(name: str, **arguments: Any) -> ToolCalls:
    return ToolCalls(((name, arguments),))


@pytest.fixture(params=ENDPOINTS, ids=["openai", "gemini", "anthropic"])
async def app(
    request: pytest.FixtureRequest, provider: LoopbackProvider, tmp_path: Path
) -> AsyncIterator[FastAPI]:
    patchbay = loopback_patchbay(provider, {"chat_agent": request.param})
    told: list[str] = []
    made = application(Settings(_env_file=None, data_dir=tmp_path), told.append, patchbay=patchbay)
    async with made.router.lifespan_context(made):
        made.state.token = told[0]
        await made.state.services.conversations.add(
            Conversation(
                id="c1",
                user_id="admin",
                created_at=NOON,
                started_at=NOON,
                status="completed",
                title=TITLE,
                overview="They agree on a budget.",
                transcript=SAMPLE,
            )
        )
        yield made
    await patchbay.aclose()


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(app, app.state.token) as made:
        yield made


def happened(response: httpx2.Response) -> list[tuple[str, Any]]:
    blocks = response.text.strip().split("\n\n")
    fields = [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]
    return [(field["event"], json.loads(field["data"])) for field in fields]


def last(response: httpx2.Response) -> tuple[str, Any]:
    return happened(response)[-1]


def told(response: httpx2.Response, kind: str) -> Any:
    """The first event of that kind."""
    return next(data for event, data in happened(response) if event == kind)


async def test_a_conversation_is_found_and_deleted_once_its_user_says_yes(
    app: FastAPI, client: httpx2.AsyncClient, provider: LoopbackProvider
) -> None:
    provider.script(
        wants("search_conversations", words="budget"),
        wants("delete_conversation", conversation_id="c1", title=TITLE),
        Text("It is deleted."),
    )

    begun = await client.post("/v1/agents/assistant/runs", json={"message": "Delete the budget talk."})
    (one,) = (await client.get("/v1/confirmations")).json()["confirmations"]
    there = await app.state.services.conversations.get(DataOwner("admin"), "c1")
    body = {"decision": "approve", "digest": one["digest"]}
    answered = await client.post(f"/v1/confirmations/{one['id']}", json=body)
    again = await client.post(f"/v1/confirmations/{one['id']}", json=body)

    assert (last(begun)[1]["state"], there is not None) == ("awaiting", True)
    assert {line["name"]: line["text"] for line in one["arguments"]} == {
        "conversation_id": "c1",
        "title": TITLE,
    }
    assert (last(answered)[1]["text"], again.status_code) == ("It is deleted.", 409)
    assert await app.state.services.conversations.get(DataOwner("admin"), "c1") is None
    assert last(answered)[1]["spent"]["turns"] == len(provider.requests) == 3


async def test_a_task_is_added_when_its_user_says_so(
    app: FastAPI, client: httpx2.AsyncClient, provider: LoopbackProvider
) -> None:
    task = wants("create_action_item", conversation_id="c1", description="Send the budget", owner="Ana")
    provider.script(task, Text("Done."))

    await client.post("/v1/agents/assistant/runs", json={"message": "Note that Ana sends the budget."})
    (one,) = (await client.get("/v1/confirmations")).json()["confirmations"]
    await client.post(f"/v1/confirmations/{one['id']}", json={"decision": "approve", "digest": one["digest"]})

    kept = await app.state.services.conversations.get(DataOwner("admin"), "c1")
    assert [(item.description, item.owner) for item in kept.action_items] == [("Send the budget", "Ana")]


@pytest.mark.parametrize(
    ("path", "field"), [("/v1/chat/completions", "messages"), ("/v1/responses", "input")]
)
async def test_what_a_client_says_and_what_it_said_before_are_bounded_as_each_run_keeps_them(
    path: str, field: str, client: httpx2.AsyncClient, provider: LoopbackProvider
) -> None:
    def said(before: int, now: int) -> dict[str, object]:
        texts = [("user", "a" * before), ("assistant", "b"), ("user", "c" * now)]
        return {"model": "@assistant", field: [{"role": role, "content": text} for role, text in texts]}

    refused = [await client.post(path, json=said(400_000, 1)), await client.post(path, json=said(1, 16_001))]

    assert [response.status_code for response in refused] == [400, 400]
    assert ["400000" in refused[0].text, "16000" in refused[1].text] == [True, True]
    assert (len(provider.requests), (await client.get("/v1/runs")).json()["runs"]) == (0, [])

    provider.script(Text("Hm."))
    assert (await client.post(path, json=said(399_000, 16_000))).status_code == 200


async def test_an_agent_is_a_model_to_a_client_of_chat_completions(
    client: httpx2.AsyncClient, provider: LoopbackProvider
) -> None:
    provider.script(wants("delete_conversation", conversation_id="c1", title=TITLE))
    said = {"model": "@assistant", "messages": [{"role": "user", "content": "Delete the budget talk."}]}

    answered = (await client.post("/v1/chat/completions", json=said)).json()
    models = (await client.get("/v1/models")).json()["data"]
    refused = await client.post("/v1/chat/completions", json={**said, "tools": [LOOK]})

    (one,) = (await client.get("/v1/confirmations")).json()["confirmations"]
    text = answered["choices"][0]["message"]["content"]
    assert ("title: Budget" in text, f"/v1/confirmations/{one['id']}" in text) == (True, True)
    assert answered["usage"]["prompt_tokens"] > 0
    assert "@assistant" in [model["id"] for model in models]
    assert refused.status_code == 400


async def test_a_clients_history_is_told_to_the_agents_model(
    client: httpx2.AsyncClient, provider: LoopbackProvider
) -> None:
    provider.script(Text("You said tea."))
    messages = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Tea."},
        {"role": "assistant", "content": "Noted."},
        {"role": "user", "content": "What did I say?"},
    ]

    response = await client.post(
        "/v1/chat/completions", json={"model": "@assistant", "messages": messages, "stream": True}
    )

    assert "".join(_deltas(response)) == "You said tea."
    assert all(word in str(provider.requests[-1].body) for word in ("Be short.", "Tea.", "Noted."))


FAILS = Status(400)
WIRES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hello."}]},
    "/v1/responses": {"input": "Hello."},
    "/v1/messages": {"messages": [{"role": "user", "content": "Hello."}], "max_tokens": 100},
}


@pytest.mark.parametrize("app", ["openai:gpt-6-luna"], indirect=True)
@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("path", WIRES)
async def test_an_agent_whose_model_fails_before_it_says_anything_is_an_http_error_of_the_wire(
    client: httpx2.AsyncClient, provider: LoopbackProvider, path: str, streams: object
) -> None:
    provider.script(wants("search_conversations", words="budget"), FAILS)
    said = {"model": "@assistant", "stream": streams, **WIRES[path]}

    failed = await client.post(path, json=said)

    assert failed.status_code >= 400
    assert ("message" in failed.json()["error"], "stopped" in failed.text) == (True, False)


@pytest.mark.parametrize("app", ["openai:gpt-6-luna"], indirect=True)
async def test_why_a_call_was_refused_or_failed_is_told_to_whoever_follows_the_run(
    client: httpx2.AsyncClient, provider: LoopbackProvider
) -> None:
    provider.script(wants("search_conversations", limit=99), Text("Sorry."))
    refused = await client.post("/v1/agents/assistant/runs", json={"message": "Look."})
    provider.script(wants("delete_conversation", conversation_id="c1", title="Other"), Text("Sorry."))
    await client.post("/v1/agents/assistant/runs", json={"message": "Delete it."})
    (one,) = (await client.get("/v1/confirmations")).json()["confirmations"]
    body = {"decision": "approve", "digest": one["digest"]}
    failed = await client.post(f"/v1/confirmations/{one['id']}", json=body)

    assert "words: Field required" in told(refused, "call")["message"]
    assert told(failed, "result")["message"] == "That is not its title, so it was not deleted."


LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


def _deltas(response: httpx2.Response) -> list[str]:
    chunks = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    return [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]
