from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from backend.access import DataOwner
from backend.conversations.creation import ConversationCreator
from backend.conversations.errors import StorageUnavailableError
from backend.conversations.sample import SAMPLE
from backend.routers.conversations import LONGEST_TRANSCRIPT
from backend.tests.fakes.journals import InMemoryJournals
from backend.tests.fakes.models import ScriptedModels
from backend.tests.fakes.services import ANN, BOB, FakeFacade, InMemoryConversations, scope, services
from backend.utils.llm.errors import ProviderDownError
from backend.utils.llm.testing.virtual_time import VirtualTime

if TYPE_CHECKING:
    import httpx2

    from backend.conversations.store import Conversation

    from .conftest import Connect, MakeApp

BODY: dict[str, Any] = SAMPLE.model_dump(mode="json")
HEADERS = [(name.encode(), value.encode()) for name, value in ANN.items()]


async def post(client: httpx2.AsyncClient, headers: dict[str, str] = ANN, **given: Any) -> httpx2.Response:
    return await client.post("/v1/conversations", json=BODY | given, headers=headers)


def anew(answers: int) -> ScriptedModels:
    models = ScriptedModels()
    for model in models.models.values():
        model.script *= answers
    return models


async def test_a_transcript_is_processed_and_returned_without_its_segments(connect: Connect) -> None:
    response = await post(connect())

    assert response.status_code == 201
    assert response.json()["title"] == "Budget"
    assert "transcript" not in response.json()


async def test_a_created_conversation_is_found_at_its_location(connect: Connect) -> None:
    client = connect()
    created = await post(client)

    found = await client.get(created.headers["location"], headers=ANN)

    assert found.status_code == 200
    assert len(found.json()["transcript"]["segments"]) == len(SAMPLE.segments)


async def test_what_a_client_that_leaves_has_paid_for_is_finished_and_kept(make_app: MakeApp) -> None:
    held = services()
    body = [{"type": "http.request", "body": json.dumps(BODY).encode(), "more_body": False}]

    async def receive() -> dict[str, Any]:
        return body.pop() if body else {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        pass

    await make_app(held)(scope("/v1/conversations"), receive, send)

    assert [item.title for item in (await held.conversations.list_page(DataOwner("ann"), limit=9)).items] == [
        "Budget"
    ]


async def test_a_failed_step_is_named_beside_what_was_found(connect: Connect) -> None:
    models = ScriptedModels(conv_action_items=[ProviderDownError("down")])

    created = (await post(connect(services(models)))).json()

    assert (created["status"], created["errors"]) == ("partial", {"conv_action_items": "provider_down"})


async def test_each_part_says_who_made_it(connect: Connect) -> None:
    created = (await post(connect(services(ScriptedModels(conv_structure=["no JSON"]))))).json()

    assert created["made_by"] == {
        "title": "extract",
        "overview": "extract",
        "category": "extract",
        "action_items": "model",
    }


@pytest.mark.parametrize(
    ("own_weights", "asked"),
    [(False, {"conv_folder"}), (True, {"conv_folder", "conv_structure", "conv_action_items"})],
)
async def test_a_model_file_of_the_users_is_asked_and_the_built_in_model_is_not(
    own_weights: bool,  # noqa: FBT001 - a case
    asked: set[str],
    connect: Connect,
) -> None:
    models = ScriptedModels()
    given = replace(services(models), facade=FakeFacade(models, demo=True), has_own_weights=own_weights)

    await post(connect(given))

    assert models.asked == asked


async def test_a_silent_recording_is_discarded(connect: Connect) -> None:
    created = (await post(connect(), segments=[])).json()

    assert (created["status"], created["discard_reason"]) == ("discarded", "Nothing was said.")


async def test_ten_thousand_segments_are_taken(connect: Connect) -> None:
    segments = [
        {"speaker": f"S{n % 3}", "text": "And so on.", "start": n, "end": n + 1} for n in range(10_000)
    ]

    created = await post(connect(), segments=segments)

    assert (created.status_code, created.json()["truncated"]) == (201, True)


async def test_a_naive_time_is_refused_with_the_field_and_the_fix(connect: Connect) -> None:
    response = await post(connect(), started_at="2026-11-21T12:00:00")

    problem = response.json()["error"]["problems"][0]
    assert (response.status_code, problem["field"]) == (422, "body.started_at")
    assert "2026-11-21T12:00:00+00:00" in problem["message"]


async def test_a_refusal_does_not_quote_the_transcript(connect: Connect) -> None:
    segments = [{"text": "our secret", "start": 2, "end": 1}]

    response = await post(connect(), segments=segments)

    assert response.status_code == 422
    assert "our secret" not in response.text


async def test_too_large_a_body_is_refused(connect: Connect) -> None:
    response = await connect().post("/v1/conversations", content=b" " * (LONGEST_TRANSCRIPT + 1), headers=ANN)

    assert response.status_code == 413


async def test_a_form_is_not_a_transcript(connect: Connect) -> None:
    response = await connect().post("/v1/conversations", content=SAMPLE.model_dump_json(), headers=ANN)

    assert response.status_code == 422


@pytest.mark.parametrize("conversation_id", ["another's", "none's"])
async def test_another_users_conversation_is_as_unknown_as_none(
    conversation_id: str, connect: Connect
) -> None:
    client = connect()
    created = (await post(client)).json()["id"]
    path = created if conversation_id == "another's" else "no-such-id"

    response = await client.get(f"/v1/conversations/{path}", headers=BOB)

    assert response.status_code == 404
    assert response.json()["error"]["message"] == "There is no such conversation."


async def test_users_list_their_own(connect: Connect) -> None:
    client = connect()
    await post(client)

    assert (await client.get("/v1/conversations", headers=BOB)).json() == {"items": [], "next_cursor": None}


async def test_pages_lead_from_one_to_the_next(connect: Connect) -> None:
    client = connect(services(anew(3)))
    created = [(await post(client)).json()["id"] for _ in range(3)]

    first = (await client.get("/v1/conversations?limit=2", headers=ANN)).json()
    second = (
        await client.get(f"/v1/conversations?limit=2&cursor={first['next_cursor']}", headers=ANN)
    ).json()

    assert [one["id"] for one in first["items"] + second["items"]] == created[::-1]
    assert second["next_cursor"] is None


async def test_a_list_holds_no_transcripts(connect: Connect) -> None:
    client = connect()
    await post(client)

    (item,) = (await client.get("/v1/conversations", headers=ANN)).json()["items"]

    assert "transcript" not in item


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=not-one"])
async def test_a_page_that_cannot_be_is_refused(query: str, connect: Connect) -> None:
    assert (await connect().get(f"/v1/conversations?{query}", headers=ANN)).status_code == 422


class TestIdempotencyKey:
    """`Idempotency-Key`: the same conversation for the same key, and no doubt about which one that is."""

    @pytest.mark.parametrize(
        "key",
        ["k", "8e03978e-40d5-43e8-bc93-6894a57f9324", '"in-quotes"', "a,b;c=d", "~" * 255],
    )
    async def test_the_same_one_gives_the_same_answer_and_pays_once(self, key: str, connect: Connect) -> None:
        models = ScriptedModels()
        client = connect(services(models))

        first, second = [await post(client, ANN | {"idempotency-key": key}) for _ in range(2)]

        assert (first.status_code, second.status_code) == (201, 201)
        assert first.json() == second.json()
        assert first.headers["location"] == second.headers["location"]
        assert [len(models.models[step].calls) for step in sorted(models.asked)] == [1, 1, 1]

    async def test_quotes_are_no_part_of_it(self, connect: Connect) -> None:
        client = connect()

        plain = await post(client, ANN | {"idempotency-key": "abc"})
        quoted = await post(client, ANN | {"idempotency-key": '"abc"'})

        assert plain.json()["id"] == quoted.json()["id"]

    @pytest.mark.parametrize(
        "key", ["", " ", "a b", '"', '""', '"open', 'open"', "back\\slash", "~" * 256, "ünïcode", '"a";p=1']
    )
    async def test_one_that_is_none_is_refused_and_not_repeated(self, key: str, connect: Connect) -> None:
        models = ScriptedModels()

        response = await connect(services(models)).post(
            "/v1/conversations", json=BODY, headers=[*HEADERS, (b"idempotency-key", key.encode())]
        )

        assert (response.status_code, response.json()["error"]["code"]) == (400, "bad_request")
        assert models.asked == set()

    async def test_two_are_refused(self, connect: Connect) -> None:
        headers = [*ANN.items(), ("idempotency-key", "a"), ("idempotency-key", "a")]

        response = await connect().post("/v1/conversations", json=BODY, headers=headers)

        assert response.status_code == 400

    async def test_another_transcript_is_refused(self, connect: Connect) -> None:
        client, headers = connect(), ANN | {"idempotency-key": "abc"}
        await post(client, headers)

        response = await post(client, headers, language="de")

        assert (response.status_code, response.json()["error"]["code"]) == (422, "idempotency_key_reused")

    async def test_another_users_is_another_one(self, connect: Connect) -> None:
        client = connect(services(anew(2)))

        ann, bob = [await post(client, who | {"idempotency-key": "abc"}) for who in (ANN, BOB)]

        assert ann.json()["id"] != bob.json()["id"]

    async def test_one_that_is_under_way_for_long_says_when_to_ask_again(self, connect: Connect) -> None:
        held = services()
        journals = InMemoryJournals()
        given = replace(held, creation=ConversationCreator(held.conversations, journals, VirtualTime().time))
        client, headers = connect(given), ANN | {"idempotency-key": "abc"}
        journals.held.add((await post(client, headers)).json()["id"])

        response = await post(client, headers)

        assert (response.status_code, response.headers["retry-after"]) == (409, "5")
        assert response.json()["error"]["code"] == "under_way"


async def test_what_is_made_and_not_stored_yet_is_accepted_and_found(connect: Connect) -> None:
    class Busy(InMemoryConversations):
        async def add(self, conversation: Conversation) -> None:
            raise StorageUnavailableError

    creation = ConversationCreator(store := Busy(), InMemoryJournals(), VirtualTime().time)
    client = connect(replace(services(), conversations=store, creation=creation))

    created = await post(client)

    found = await client.get(created.headers["location"], headers=ANN)
    assert (created.status_code, found.status_code) == (202, 200)
    assert found.json()["title"] == created.json()["title"] == "Budget"
    assert (await client.get(created.headers["location"], headers=BOB)).status_code == 404


async def test_what_cannot_be_kept_is_refused_before_it_is_paid_for(connect: Connect) -> None:
    models, journals = ScriptedModels(), InMemoryJournals()
    journals.is_full = True
    given = services(models)

    response = await post(
        connect(replace(given, creation=ConversationCreator(given.conversations, journals)))
    )

    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.json()["error"]["code"] == "storage_unavailable"
    assert models.asked == set()


def test_the_schema_documents_the_key_and_every_status(make_app: MakeApp) -> None:
    route = make_app().openapi()["paths"]["/v1/conversations"]["post"]

    assert {one["name"]: one["required"] for one in route["parameters"]}["Idempotency-Key"] is False
    assert set(route["responses"]) >= {"201", "202", "400", "409", "422", "503"}
