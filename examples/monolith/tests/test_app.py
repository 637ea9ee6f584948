"""Each feature over HTTP, with real requests to a provider on loopback."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from utils.llm.testing import Json, Status, Text, ToolCalls

if TYPE_CHECKING:
    from fastapi.testclient import TestClient
    from utils.llm.testing import LoopbackProvider

OWN = {"x-openai-key": "sk-of-kim-1234567890"}
ASKED = [
    ("post", "/title", {"json": {"text": "We eat at noon."}}),
    ("post", "/tasks", {"json": {"text": "Jonas sends the contract."}}),
    ("get", "/answer", {"params": {"question": "When is lunch?"}}),
    ("post", "/labels", {"json": {"texts": ["Rent is due.", "See the doctor."]}}),
    ("post", "/assistant", {"json": {"text": "When is lunch?"}}),
    ("post", "/report", {"json": {"text": "lunch"}}),
    ("post", "/nearest", {"json": {"query": "lunch", "texts": ["lunch", "rent"]}}),
]


def test_a_title(client: TestClient, llm_provider: LoopbackProvider) -> None:
    llm_provider.script(Text("Lunch at noon"))

    assert client.post("/title", json={"text": "We eat at noon."}).json() == {"title": "Lunch at noon"}


def test_tasks_fall_over_to_the_other_provider(client: TestClient, llm_provider: LoopbackProvider) -> None:
    llm_provider.always(Status(503), model="gpt-6.1-terra")
    llm_provider.always(
        Json({"tasks": [{"what": "Send the contract", "who": "Jonas"}]}), model="claude-sonnet-5-5"
    )

    found = client.post("/tasks", json={"text": "Jonas sends the contract."}).json()

    assert found["tasks"] == [{"what": "Send the contract", "who": "Jonas"}]
    assert llm_provider.requests[-1].model == "claude-sonnet-5-5"


def test_what_an_answer_cost_is_known(client: TestClient, llm_provider: LoopbackProvider) -> None:
    llm_provider.script(Json({"tasks": []}))

    assert float(client.post("/tasks", json={"text": "Nothing."}).json()["cost_usd"]) > 0


def test_an_answer_comes_in_pieces(client: TestClient, llm_provider: LoopbackProvider) -> None:
    llm_provider.script(Text("At noon, on Friday."))
    events = client.get("/answer", params={"question": "When is lunch?"}).text.split("\n\n")
    pieces = [json.loads(event.removeprefix("data: ")) for event in events if event.startswith("data: ")]

    assert "".join(pieces) == "At noon, on Friday."
    assert "event: end" in events[-2]


def test_labels_are_found_in_threads(client: TestClient, llm_provider: LoopbackProvider) -> None:
    llm_provider.always(Json({"label": "money"}))

    assert client.post("/labels", json={"texts": ["Rent is due."] * 6}).json() == {"labels": ["money"] * 6}


def test_the_agent_looks_up_what_it_wants(client: TestClient, llm_provider: LoopbackProvider) -> None:
    llm_provider.script(ToolCalls((("look_up", {"word": "lunch"}),)), Text("On Friday at noon."))

    assert client.post("/assistant", json={"text": "When is lunch?"}).json() == {
        "answer": "On Friday at noon."
    }
    assert "Lunch with Kim" in json.dumps(llm_provider.requests[-1].body)


def test_the_graph_writes_reviews_and_writes_again(
    client: TestClient, llm_provider: LoopbackProvider
) -> None:
    llm_provider.script(Text("A draft."), Text("Too short."), Text("A longer draft."))

    assert client.post("/report", json={"text": "lunch"}).json() == {"report": "A longer draft."}
    assert "Too short." in json.dumps(llm_provider.requests[-1].body)


def test_the_same_text_is_nearest(client: TestClient) -> None:
    search = {"query": "rent", "texts": ["lunch", "rent", "doctor"]}

    assert client.post("/nearest", json=search).json() == {"note": "rent"}


@pytest.mark.parametrize(("method", "path", "sent"), ASKED, ids=[path for _, path, _ in ASKED])
def test_a_users_own_key_is_followed_everywhere(
    client: TestClient, llm_provider: LoopbackProvider, method: str, path: str, sent: dict
) -> None:
    answer = client.request(method, path, headers=OWN, **sent)

    assert answer.status_code == 200, answer.text
    assert {request.key for request in llm_provider.requests} == set(OWN.values())


def test_a_users_key_that_is_refused_is_told_and_the_houses_is_not_asked(
    client: TestClient, llm_provider: LoopbackProvider
) -> None:
    llm_provider.always(Status(401, error_code="invalid_api_key"))
    answer = client.post("/tasks", json={"text": "x"}, headers=OWN)

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "credential_rejected")
    assert {request.key for request in llm_provider.requests} == set(OWN.values())
    assert OWN["x-openai-key"] not in answer.text


def test_who_is_asked_too_often_says_when_to_come_again(
    client: TestClient, llm_provider: LoopbackProvider
) -> None:
    llm_provider.always(Status(429, retry_after=60))
    answer = client.post("/tasks", json={"text": "x"}, headers=OWN)

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
