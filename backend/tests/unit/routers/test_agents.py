"""H: agents over HTTP."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from backend.access import DataOwner
from backend.agents.errors import ConfirmationsUnreachableError
from backend.agents.in_memory import InMemoryConfirmationStore
from backend.agents.tools import tool
from backend.tests.fakes.agents import Effects, World, deletes, wants
from backend.tests.fakes.services import ANN, BOB, services
from backend.tests.unit.agents.conftest import stores, valkey_client  # noqa: F401 - fixtures
from backend.tests.unit.database.conftest import (  # noqa: F401 - fixtures
    engine,
    postgresql_sessions,
    postgresql_transactions,
    sqlite_sessions,
    sqlite_transactions,
)

if TYPE_CHECKING:
    import httpx2

    from backend.tests.unit.agents.conftest import Stores

    from .conftest import Connect

RUNS = "/v1/agents/clerk/runs"
SAY = {"message": "Delete it.", "conversation_id": "c"}
USER = DataOwner("ann")


def client_of(connect: Connect, world: World) -> httpx2.AsyncClient:
    return connect(replace(services(), agents=world.runner))


def events(response: httpx2.Response) -> list[tuple[str, Any]]:
    assert response.headers["content-type"].startswith("text/event-stream"), response.text
    found = []
    for block in response.text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        found.append((fields["event"], json.loads(fields["data"])))
    return found


def names(response: httpx2.Response) -> list[str]:
    return [name for name, _ in events(response) if name != "delta"]


async def asks(client: httpx2.AsyncClient) -> dict[str, Any]:
    """Say something that leads to a question, and return that."""
    await client.post(RUNS, json=SAY, headers=ANN)
    (one,) = (await client.get("/v1/confirmations", headers=ANN)).json()["confirmations"]
    return dict(one)


async def test_a_run_waits_and_goes_on_when_it_is_confirmed(connect: Connect) -> None:
    world = World([deletes(), "It is gone."])
    client = client_of(connect, world)

    begun = await client.post(RUNS, json=SAY, headers=ANN)
    (one,) = (await client.get("/v1/confirmations", headers=ANN)).json()["confirmations"]
    answered = await client.post(
        f"/v1/confirmations/{one['id']}", json={"decision": "approve", "digest": one["digest"]}, headers=ANN
    )

    assert names(begun) == ["run", "call", "confirmation", "end"]
    assert (one["title"], one["risk"], one["arguments"][0]["text"]) == ("Delete", "dangerous", "7")
    assert names(answered) == ["confirmation", "confirmation", "run", "result", "end"]
    assert (events(answered)[-1][1]["text"], world.effects.done) == ("It is gone.", [("delete", 7)])


async def test_what_is_cut_is_confirmed_by_whoever_has_seen_all_of_it(connect: Connect) -> None:
    effects = Effects()
    world = World([wants(("note", {"text": "x" * 3_000})), "Noted."], tools=[tool(effects.note)])
    client = client_of(connect, world)

    one = await asks(client)
    all_of_it = (await client.get(f"/v1/confirmations/{one['id']}", headers=ANN)).json()
    answered = await client.post(
        f"/v1/confirmations/{one['id']}",
        json={"decision": "approve", "digest": all_of_it["digest"]},
        headers=ANN,
    )

    assert (one["is_cut"], one["digest"], answered.status_code) == (True, None, 200)
    assert effects.done == [("note", "x" * 3_000)]


async def test_a_run_tells_how_it_stands(connect: Connect) -> None:
    client = client_of(connect, World([deletes(), "Gone."]))
    one = await asks(client)

    run = (await client.get(f"/v1/runs/{one['run']}", headers=ANN)).json()
    (listed,) = (await client.get("/v1/runs", headers=ANN)).json()["runs"]

    assert (run["state"], run["steps"], run["spent"]["turns"]) == ("awaiting", ["opened", "answered"], 1)
    assert [shown["id"] for shown in run["confirmations"]] == [one["id"]]
    assert listed["id"] == run["id"]


async def test_a_run_is_listed_by_the_beginning_of_what_was_said(connect: Connect) -> None:
    client = client_of(connect, World(["Hm."]))
    await client.post(RUNS, json={"message": "q" * 16_000}, headers=ANN)

    (listed,) = (await client.get("/v1/runs", headers=ANN)).json()["runs"]
    whole = (await client.get(f"/v1/runs/{listed['id']}", headers=ANN)).json()

    assert (len(listed["question"]), len(whole["question"])) == (500, 16_000)


async def test_who_said_something_can_remove_it(connect: Connect) -> None:
    client = client_of(connect, World(["Hm."]))
    await client.post(RUNS, json={"message": "Hello."}, headers=ANN)
    (listed,) = (await client.get("/v1/runs", headers=ANN)).json()["runs"]

    found = [
        (await client.delete(f"/v1/runs/{listed['id']}", headers=headers)).status_code
        for headers in (BOB, ANN, ANN)
    ]

    assert found == [404, 204, 404]
    assert (await client.get("/v1/runs", headers=ANN)).json()["runs"] == []


async def test_a_run_is_its_users_alone(connect: Connect) -> None:
    client = client_of(connect, World([deletes(), "Gone."]))
    one = await asks(client)

    found = [
        await client.get(f"/v1/runs/{one['run']}", headers=BOB),
        await client.get(f"/v1/runs/{'0' * 32}", headers=BOB),
        await client.get(f"/v1/confirmations/{one['id']}", headers=BOB),
        await client.post(f"/v1/runs/{one['run']}/resume", headers=BOB),
    ]

    assert [response.status_code for response in found] == [404] * 4
    assert found[0].json() == found[1].json()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"decision": "approve", "digest": "0" * 64}, 409, "confirmation_changed"),
        ({"decision": "edit", "digest": "DIGEST", "arguments": {"number": "x"}}, 422, "invalid_edit"),
        (
            {"decision": "edit", "digest": "DIGEST", "arguments": '{"number":1,"number":2}'},
            422,
            "invalid_edit",
        ),
        ({"decision": "edit", "digest": "DIGEST"}, 422, "invalid_request"),
        ({"decision": "approve", "digest": "DIGEST", "arguments": {}}, 422, "invalid_request"),
        ({"decision": "perhaps", "digest": "DIGEST"}, 422, "invalid_request"),
    ],
)
async def test_a_bad_answer_changes_nothing_and_says_what_is_wrong(
    connect: Connect, body: dict[str, Any], status: int, code: str
) -> None:
    world = World([deletes(), "Gone."])
    client = client_of(connect, world)
    one = await asks(client)
    body = {name: one["digest"] if value == "DIGEST" else value for name, value in body.items()}

    response = await client.post(f"/v1/confirmations/{one['id']}", json=body, headers=ANN)

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert (world.effects.done, len(await world.pending(USER))) == ([], 1)


async def test_an_edit_may_be_text_and_runs_what_the_person_wrote(connect: Connect) -> None:
    world = World([deletes(), "Gone."])
    client = client_of(connect, world)
    one = await asks(client)

    body = {"decision": "edit", "digest": one["digest"], "arguments": '{"number": 8}'}
    response = await client.post(f"/v1/confirmations/{one['id']}", json=body, headers=ANN)

    assert (names(response)[-1], world.effects.done) == ("end", [("delete", 8)])


async def test_a_rejection_tells_the_model_why(connect: Connect) -> None:
    world = World([deletes(), "Fine."])
    client = client_of(connect, world)
    one = await asks(client)

    body = {"decision": "reject", "digest": one["digest"], "reason": "I need it."}
    response = await client.post(f"/v1/confirmations/{one['id']}", json=body, headers=ANN)

    assert (events(response)[-1][1]["text"], world.effects.done) == ("Fine.", [])
    assert "I need it." in world.results()[0]


async def test_of_many_who_approve_at_once_one_does_and_the_others_are_told(connect: Connect) -> None:
    world = World([deletes(), "Gone."])
    client = client_of(connect, world)
    one = await asks(client)

    body = {"decision": "approve", "digest": one["digest"]}
    path = f"/v1/confirmations/{one['id']}"
    found = await asyncio.gather(*(client.post(path, json=body, headers=ANN) for _ in range(20)))

    assert sorted(response.status_code for response in found) == [200, *[409] * 19]
    assert world.effects.done == [("delete", 7)]


async def test_without_confirmations_nothing_is_done(connect: Connect) -> None:
    class Away(InMemoryConfirmationStore):
        async def add(self, one: object) -> bool:
            raise ConfirmationsUnreachableError

    world = World([deletes(), "Gone."], confirmations=Away())
    client = client_of(connect, world)

    response = await client.post(RUNS, json=SAY, headers=ANN)

    assert names(response) == ["run", "call", "error"]
    assert (events(response)[-1][1]["code"], world.effects.done) == ("confirmations_away", [])
    (run,) = (await client.get("/v1/runs", headers=ANN)).json()["runs"]
    assert run["state"] == "interrupted"


async def test_a_conversation_can_be_removed(connect: Connect) -> None:
    world = World([deletes(), "Gone."])
    client = client_of(connect, world)
    one = await asks(client)

    removed = await client.delete("/v1/agents/clerk/conversations/c", headers=ANN)

    body = {"decision": "approve", "digest": one["digest"]}
    late = await client.post(f"/v1/confirmations/{one['id']}", json=body, headers=ANN)
    assert (removed.status_code, late.status_code, world.effects.done) == (204, 404, [])


async def test_agents_are_listed_and_an_unknown_one_is_told_with_the_nearest(connect: Connect) -> None:
    client = client_of(connect, World())

    (agent,) = (await client.get("/v1/agents", headers=ANN)).json()["agents"]
    unknown = await client.post("/v1/agents/clark/runs", json=SAY, headers=ANN)

    assert (agent["name"], [tool["policy"] for tool in agent["tools"]]) == (
        "clerk",
        ["allow", "ask", "allow"],
    )
    assert (unknown.status_code, "'clerk'" in unknown.json()["error"]["message"]) == (404, True)


@pytest.mark.parametrize("path", ["/v1/agents", "/v1/runs", "/v1/confirmations"])
async def test_without_a_token_nothing_is_told(connect: Connect, path: str) -> None:
    assert (await client_of(connect, World()).get(path)).status_code == 401


async def test_a_message_that_is_none_is_refused_before_anybody_is_asked(connect: Connect) -> None:
    world = World(["Hello."])
    client = client_of(connect, world)

    for body in (
        {"message": " "},
        {"message": "x" * 16_001},
        {},
        {"message": "a", "more": 1},
    ):
        assert (await client.post(RUNS, json=body, headers=ANN)).status_code == 422

    assert world.model.calls == ()


async def test_over_http_it_is_the_same_on_every_store(
    connect: Connect,
    stores: Stores,  # noqa: F811 - the fixture
) -> None:
    world = World([deletes(), "It is gone."], confirmations=stores.confirmations, runs=stores.runs)
    client = client_of(connect, world)
    one = await asks(client)
    place, yes = f"/v1/confirmations/{one['id']}", {"decision": "approve", "digest": one["digest"]}
    statuses = []
    for headers, body in (
        (BOB, yes),
        (ANN, yes | {"digest": "0" * 64}),
        (ANN, yes | {"decision": "edit", "arguments": {"number": "x"}}),
        (ANN, yes | {"decision": "edit", "arguments": {"number": 8}}),
        (ANN, yes),
    ):
        statuses.append((await client.post(place, json=body, headers=headers)).status_code)

    run = (await client.get(f"/v1/runs/{one['run']}", headers=ANN)).json()
    removed = await client.delete(f"/v1/runs/{one['run']}", headers=ANN)
    gone = await client.get(f"/v1/runs/{one['run']}", headers=ANN)

    assert statuses == [404, 409, 422, 200, 409]
    assert (run["state"], run["answer"], world.effects.done) == ("done", "It is gone.", [("delete", 8)])
    assert (removed.status_code, gone.status_code) == (204, 404)
