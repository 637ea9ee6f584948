"""The whole way: HTTP in, the real facade, a provider on loopback, a database on disk."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import uvicorn
from sqlalchemy.ext.asyncio import async_sessionmaker
from typing_extensions import override

from backend.conversations.sample import SAMPLE
from backend.database.engine import open_and_migrate_sqlite
from backend.database.probe import FRESH, SqliteProbe
from backend.database.tokens import TokenStore, hash_token
from backend.keys.monitor import KeyMonitor
from backend.main import FIRST_USER, create_app
from backend.routers.stopping import STOPPING
from backend.settings import Settings
from backend.tests.fakes.applications import application, client_of
from backend.tests.fakes.clock import Clock
from backend.utils.llm.errors import MissingCallerError
from backend.utils.llm.testing import Hang, Json, LoopbackProvider, Status, Text, Trickle
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.watchers import Watchers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from fastapi import FastAPI

    from backend.access import AccessToken
    from backend.utils.llm import Patchbay
    from backend.utils.llm.testing.recording import RecordedRequest

BODY: dict[str, Any] = SAMPLE.model_dump(mode="json")
ONE_AT_ONCE = "[features.chat_responses]\nlimits = { concurrency = 1 }"
OPENED = {"sec-fetch-site": "none"}
"""How a browser says that a person opened a link."""
STEPS = ("conv_discard", "conv_structure", "conv_action_items", "conv_folder")
MODELS = {feature: f"model-of-{feature.replace('_', '-')}" for feature in (*STEPS, "chat_responses")}
ANSWERS: dict[str, Any] = {
    "conv_discard": Json({"reason": "A task.", "discard": False}),
    "conv_structure": Json({"title": "Going live", "overview": "They decide when.", "category": "work"}),
    "conv_action_items": Json({"items": [{"description": "Fix the payment test", "owner": "Jonas"}]}),
    "conv_folder": Json({"reasoning": "A project.", "folder_id": "1", "confidence": 0.95}),
    "chat_responses": Text("On Monday at nine."),
}


@pytest.fixture
async def patchbay(provider: LoopbackProvider) -> AsyncIterator[Patchbay]:
    for feature, answer in ANSWERS.items():
        provider.always(answer, model=MODELS[feature])
    endpoints = {feature: f"openai:{model}" for feature, model in MODELS.items()}
    made = loopback_patchbay(provider, endpoints, ONE_AT_ONCE)
    yield made
    await made.aclose()


class Started:
    """An application that has been started on a database of its own, and its first token."""

    def __init__(self, data_dir: Path, patchbay: Patchbay, monitor: KeyMonitor | None = None) -> None:
        self.data_dir = data_dir
        self.patchbay = patchbay
        self.monitor = monitor
        self.told: list[str] = []

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx2.AsyncClient]:
        settings = Settings(_env_file=None, data_dir=self.data_dir)
        watchers = Watchers.of(settings)._replace(keys=self.monitor or KeyMonitor())
        app = application(settings, self.told.append, patchbay=self.patchbay, watchers=watchers)
        with watchers.spool:
            async with app.router.lifespan_context(app), client_of(app, self.told[0]) as client:
                yield client


@pytest.fixture
def started(tmp_path: Path, patchbay: Patchbay) -> Started:
    return Started(tmp_path, patchbay)


async def test_a_transcript_becomes_a_conversation_with_a_receipt_for_every_step(started: Started) -> None:
    async with started.client() as client:
        created = (await client.post("/v1/conversations", json=BODY)).json()

    assert (created["status"], created["title"], created["category"]) == ("completed", "Going live", "work")
    assert created["action_items"] == [{"description": "Fix the payment test", "owner": "Jonas"}]
    assert (created["folder"]["folder_id"], created["folder"]["validation_status"]) == ("work", "accepted")
    assert set(created["receipts"]) == {*STEPS} - {"conv_discard"}
    for feature, receipt in created["receipts"].items():
        assert receipt["feature"] == feature
        assert receipt["served_model"].startswith(MODELS[feature])
        assert receipt["attempts"][-1]["usage"]["output"] > 0


async def test_a_supplied_key_pays_for_every_step_and_the_houses_for_none(
    started: Started, provider: LoopbackProvider
) -> None:
    async with started.client() as client:
        supplied = await enrolled(client, "openai")
        created = await client.post("/v1/conversations", json=BODY, headers=supplied)

    assert {request.key for request in provider.requests} == {"sk-of-ann"}
    assert {receipt["key_owner"] for receipt in created.json()["receipts"].values()} == {"user"}


async def test_a_key_that_serves_nothing_sends_nothing_and_keeps_the_transcript(
    started: Started, provider: LoopbackProvider
) -> None:
    async with started.client() as client:
        supplied = await enrolled(client, "gemini")
        created = (await client.post("/v1/conversations", json=BODY, headers=supplied)).json()

    assert (created["status"], set(created["errors"].values())) == ("failed", {"credential_missing"})
    assert len(provider.requests) == 0


async def test_no_key_is_in_the_answer_or_on_disk(started: Started, tmp_path: Path) -> None:
    async with started.client() as client:
        supplied = await enrolled(client, "openai")
        created = await client.post("/v1/conversations", json=BODY, headers=supplied)

    assert created.status_code == 201
    assert "sk-of-ann" not in created.text
    assert b"sk-of-ann" not in on_disk(tmp_path)
    assert started.told[0].encode() not in on_disk(tmp_path)


async def test_conversations_and_tokens_survive_a_restart(started: Started) -> None:
    async with started.client() as client:
        created = await client.post("/v1/conversations", json=BODY)

    async with started.client() as client:
        found = await client.get(created.headers["location"])

    assert found.json()["title"] == "Going live"
    assert len(started.told) == 1


async def test_chat_answers_over_a_stored_conversation(started: Started) -> None:
    async with started.client() as client:
        created = (await client.post("/v1/conversations", json=BODY)).json()
        answer = await client.post("/v1/chat", json=question(created))

    events = [block.splitlines() for block in answer.text.strip().split("\n\n")]
    names = [lines[0].removeprefix("event: ") for lines in events]
    assert set(names[:-2]) == {"delta"}
    assert names[-2:] == ["receipt", "done"]
    receipt = json.loads(events[-2][1].removeprefix("data: "))
    assert receipt["feature"] == "chat_responses"
    assert receipt["served_model"].startswith(MODELS["chat_responses"])


async def test_a_provider_that_is_down_before_the_first_word_is_a_status(
    started: Started, provider: LoopbackProvider
) -> None:
    async with started.client() as client:
        created = (await client.post("/v1/conversations", json=BODY)).json()
        provider.always(Status(401), model=MODELS["chat_responses"])
        answer = await client.post("/v1/chat", json=question(created))

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "credential_rejected")


async def test_explain_and_qos_show_the_table_in_force(started: Started) -> None:
    async with started.client() as client:
        route = (await client.get("/v1/llm/explain/conv_folder")).json()
        qos = (await client.get("/v1/llm/qos")).json()

    assert route["candidates"][0]["endpoint"] == "openai:model-of-conv-folder"
    assert set(qos["features"]) == set(MODELS)


async def test_the_login_link_leads_to_the_start_page(started: Started) -> None:
    async with started.client() as client:
        client.headers.pop("authorization")
        before = await client.get("/")
        login = await client.get("/login", params={"token": started.told[0]}, headers=OPENED)
        after = await client.get(login.headers["location"])

    assert (before.status_code, login.status_code, after.status_code) == (401, 303, 200)
    assert all(word in login.headers["set-cookie"] for word in ("HttpOnly", "SameSite=strict"))


async def test_revoking_a_token_ends_the_sessions_that_were_opened_with_it_at_once(started: Started) -> None:
    async with started.client() as client:
        link = {"token": started.told[0]}
        client.headers.pop("authorization")
        await client.get("/login", params=link, headers=OPENED)
        (token,) = await revoke_all(started.data_dir)

        refused = [await client.get("/"), await client.get("/login", params=link, headers=OPENED)]

    assert token.user_id == FIRST_USER
    assert [answer.status_code for answer in refused] == [401, 401]


async def test_logging_out_ends_the_session_and_removes_it_from_disk(started: Started) -> None:
    async with started.client() as client:
        client.headers.pop("authorization")
        login = await client.get("/login", params={"token": started.told[0]}, headers=OPENED)
        cookie = login.headers["set-cookie"].partition(";")[0]
        secret = cookie.partition("=")[2]
        assert hash_token(secret).encode() in on_disk(started.data_dir)

        await client.post("/logout", headers={"sec-fetch-site": "same-origin"})
        stolen = await client.get("/", headers={"cookie": cookie})

        assert stolen.status_code == 401
        assert hash_token(secret).encode() not in on_disk(started.data_dir)
        assert secret.encode() not in on_disk(started.data_dir)


async def test_the_first_start_prints_a_login_link_that_works_and_the_second_none(
    tmp_path: Path, patchbay: Patchbay, capsys: pytest.CaptureFixture[str]
) -> None:
    app = create_app(Settings(_env_file=None, data_dir=tmp_path), patchbay=patchbay)

    async with app.router.lifespan_context(app):
        link = capsys.readouterr().err.split()[-1]
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app)) as client:
            assert (await client.get(link, headers=OPENED)).status_code == 303

    async with app.router.lifespan_context(app):
        assert capsys.readouterr().err == ""


async def test_the_token_of_a_start_opens_sessions_and_serves_requests_until_the_stop(
    tmp_path: Path, patchbay: Patchbay
) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path)
    told = []

    for given in ("of-this-start", None):
        app = application(settings, patchbay=patchbay, launch_token=given)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as client,
        ):
            sent = await client.get("/v1/llm/qos", headers={"authorization": "Bearer of-this-start"})
            opened = await client.get("/login", params={"token": "of-this-start"}, headers=OPENED)
            told.append((sent.status_code, opened.status_code))

    assert told == [(200, 303), (401, 401)]


async def test_server_without_its_database_is_not_ready_and_refuses_to_write(started: Started) -> None:
    async with started.client() as client:
        path, clock = started.data_dir / "patchbay.sqlite3", Clock()
        state = client._transport.app.state  # type: ignore[attr-defined]
        state.services = replace(state.services, database=SqliteProbe(path, clock=clock, timeout_s=30))
        before = await client.get("/readyz")
        delete(path)
        refused = await client.put("/v1/keys/openai", json={"key": "sk-of-ann-012345"})
        clock.now += FRESH
        after = await client.get("/readyz")

    assert (before.status_code, refused.status_code, after.status_code) == (200, 503, 503)
    assert after.json()["error"]["reason"] == "database_gone"


async def revoke_all(data_dir: Path) -> Sequence[AccessToken]:
    """As `python -m backend tokens revoke` does, beside the server."""
    async with open_and_migrate_sqlite(data_dir / "patchbay.sqlite3") as engine:
        store = TokenStore(async_sessionmaker(engine))
        found = await store.list_tokens()
        for token in found:
            await store.revoke_token(token.id)
    return found


def on_disk(data_dir: Path) -> bytes:
    return b"".join(path.read_bytes() for path in data_dir.rglob("*") if path.is_file())


def delete(path: Path) -> None:
    path.unlink()


async def test_a_client_that_leaves_closes_the_providers_stream(
    started: Started, provider: LoopbackProvider
) -> None:
    async with started.client() as client:
        created = (await client.post("/v1/conversations", json=BODY)).json()
        provider.always(Trickle(Text("word " * 2_000), gap_seconds=0.01), model=MODELS["chat_responses"])

        async with (
            served(client._transport.app) as address,  # type: ignore[attr-defined]
            httpx2.AsyncClient(base_url=address, headers=client.headers) as real,
            real.stream("POST", "/v1/chat", json=question(created)) as answer,
        ):
            await anext(answer.aiter_lines())

        assert await asyncio.to_thread(provider.wait_until, lambda requests: requests[-1].closed_by_client)


async def test_a_client_that_leaves_before_the_first_piece_ends_the_call_and_gives_its_room_back(
    started: Started, provider: LoopbackProvider
) -> None:
    async with started.client() as client:
        created = (await client.post("/v1/conversations", json=BODY)).json()
        provider.always(Hang(), model=MODELS["chat_responses"])

        async with (
            served(client._transport.app) as address,  # type: ignore[attr-defined]
            httpx2.AsyncClient(base_url=address, headers=client.headers) as real,
        ):
            asking = asyncio.create_task(real.post("/v1/chat", json=question(created)))
            await asyncio.to_thread(provider.wait_until, asked)
            asking.cancel()
            assert await asyncio.to_thread(provider.wait_until, left)

            provider.always(ANSWERS["chat_responses"], model=MODELS["chat_responses"])
            answer = await real.post("/v1/chat", json=question(created))

    assert "event: done" in answer.text


async def test_a_server_that_stops_ends_a_stream_with_an_error_event(
    started: Started, provider: LoopbackProvider
) -> None:
    async with started.client() as client:
        created = (await client.post("/v1/conversations", json=BODY)).json()
        provider.always(Trickle(Text("word " * 2_000), gap_seconds=0.01), model=MODELS["chat_responses"])
        app = client._transport.app  # type: ignore[attr-defined]

        async with (
            served(app) as address,
            httpx2.AsyncClient(base_url=address, headers=client.headers) as real,
            real.stream("POST", "/v1/chat", json=question(created)) as answer,
        ):
            lines = answer.aiter_lines()
            await anext(lines)
            app.state.stop.begin(0.0)
            rest = [line async for line in lines]

        assert await asyncio.to_thread(provider.wait_until, left)

    name, data = [line for line in rest if line][-2:]
    assert (name, json.loads(data.removeprefix("data: "))) == ("event: error", STOPPING)


def asked(requests: Sequence[RecordedRequest]) -> bool:
    return requests[-1].model == MODELS["chat_responses"]


def left(requests: Sequence[RecordedRequest]) -> bool:
    return requests[-1].closed_by_client


async def enrolled(client: httpx2.AsyncClient, provider: str) -> dict[str, str]:
    """The header of a key that was enrolled and not stored."""
    body = {"key": "sk-of-ann", "store": False}
    assert (await client.put(f"/v1/keys/{provider}", json=body)).status_code == 200
    return {f"x-byok-{provider}": "sk-of-ann"}


def question(created: dict[str, Any]) -> dict[str, str]:
    return {"conversation_id": created["id"], "question": "When do we go live?"}


class Server(uvicorn.Server):
    """Leaves the signals of the test process alone."""

    @override
    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """``app``, already started, behind a real socket."""
    server = Server(uvicorn.Config(app, port=0, lifespan="off", log_config=None))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn offers no event
        await asyncio.sleep(0)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await task


async def test_service_refuses_calls_without_a_caller(tmp_path: Path) -> None:
    """What loses its caller on the way is refused: the house does not pay for it."""
    app = application(Settings(_env_file=None, data_dir=tmp_path))
    async with app.router.lifespan_context(app):
        with pytest.raises(MissingCallerError):
            await app.state.services.facade.get_llm("conv_folder").ainvoke("hi")
