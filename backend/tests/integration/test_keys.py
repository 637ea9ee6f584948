"""Users' keys the whole way: HTTP, the real facade, a provider on loopback, a database and master keys on disk."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from backend.access import DataOwner
from backend.database.engine import make_engine
from backend.keys.errors import KeyRemovedError
from backend.keys.monitor import KeyMonitor
from backend.keys.removals import LOOK
from backend.keys.request_keys import RequestKey, StoredKey, SuppliedKey
from backend.tests.integration.test_http import ANSWERS, BODY, MODELS, Started
from backend.utils.llm import Patchbay, Table
from backend.utils.llm.testing import LoopbackProvider, Status, Text
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_patchbay, loopback_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx2

KEY, ANOTHER = "sk-canary-of-ann-012345679876", "sk-canary-anew-0123456798766789"


@pytest.fixture
async def started(provider: LoopbackProvider, tmp_path: Path) -> AsyncIterator[Started]:
    for feature, answer in ANSWERS.items():
        provider.always(answer, model=MODELS[feature])
    monitor = KeyMonitor()
    patchbay = loopback_patchbay(
        provider,
        {feature: f"openai:{model}" for feature, model in MODELS.items()},
        "[features.conv_folder]\nhouse_fallback = true",
        observer=monitor.observe,
    )
    yield Started(tmp_path / "data", patchbay, monitor)
    await patchbay.aclose()


async def store(client: httpx2.AsyncClient, key: str = KEY) -> None:
    assert (await client.put("/v1/keys/openai", json={"key": key})).status_code == 200


async def process(client: httpx2.AsyncClient) -> httpx2.Response:
    return await client.post("/v1/conversations", json=BODY)


async def rotate(data_dir: Path) -> dict[str, object]:
    """The command, in a process of its own."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "backend", "keys", "rotate", "--json"),
        env={"PATCHBAY_DATA_DIR": str(data_dir)},
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await child.communicate()
    return json.loads(told)


async def test_a_stored_key_pays_without_being_sent_again(
    started: Started, provider: LoopbackProvider
) -> None:
    async with started.client() as client:
        await store(client)
        created = await process(client)

    assert {request.key for request in provider.requests} == {KEY}
    assert {receipt["key_owner"] for receipt in created.json()["receipts"].values()} == {"user"}


async def test_the_house_pays_in_a_users_stead_if_both_say_so(
    started: Started, provider: LoopbackProvider
) -> None:
    """Everything runs on openai here, and the user's key is for gemini."""
    async with started.client() as client:
        await client.put("/v1/keys/gemini", json={"key": KEY})
        await process(client)
        assert [request.model for request in provider.requests] == []

        await client.put("/v1/keys", json={"house_fallback": True})
        created = await process(client)
        routes = {
            feature: (await client.get(f"/v1/llm/explain/{feature}")).json()
            for feature in ("conv_folder", "conv_discard")
        }

    assert {route["feature"]: (route["policy"], len(route["candidates"])) for route in routes.values()} == {
        "conv_folder": ("byok_then_house", 1),
        "conv_discard": ("byok_only", 0),
    }
    assert "credential_missing" in created.json()["errors"].values()
    assert all(request.model == MODELS["conv_folder"] for request in provider.requests)


async def test_to_explain_is_no_use_of_it(started: Started) -> None:
    async with started.client() as client:
        await store(client)
        await client.get("/v1/llm/explain/conv_folder")
        (explained,) = (await client.get("/v1/keys")).json()["keys"]
        await process(client)
        (used,) = (await client.get("/v1/keys")).json()["keys"]

    assert explained["last_used_at"] is None
    assert used["last_used_at"] is not None


async def test_it_survives_a_restart(started: Started, provider: LoopbackProvider) -> None:
    async with started.client() as client:
        await store(client)
    async with started.client() as client:
        await process(client)

    assert {request.key for request in provider.requests} == {KEY}


async def test_a_replaced_key_pays_no_more(started: Started, provider: LoopbackProvider) -> None:
    async with started.client() as client:
        await store(client)
        await store(client, ANOTHER)
        await process(client)

    assert {request.key for request in provider.requests} == {ANOTHER}


async def test_a_key_that_one_server_removed_another_does_not_use(
    started: Started, provider: LoopbackProvider
) -> None:
    async with started.client() as here, started.client() as there:
        await store(here)
        await process(there)
        assert {request.key for request in provider.requests} == {KEY}

        await here.delete("/v1/keys/openai")

        assert (await there.get("/v1/keys/openai")).status_code == 404
        await process(there)
        assert provider.requests[-1].key == "house-key-of-openai"
        refused = await there.get("/v1/llm/qos", headers={"x-byok-openai": KEY})
        assert refused.json()["error"]["code"] == "key_not_enrolled"


async def test_a_key_that_one_server_removed_is_out_of_use_in_another_within_a_second(
    started: Started,
) -> None:
    """Also where it was handed out before: to a stream, or to work that goes on."""
    assert LOOK < 1

    async with started.client() as here, started.client() as there:
        await store(here)
        request_key = await for_request(there)
        assert request_key.get_secret_value() == KEY

        await here.delete("/v1/keys/openai")

        async with asyncio.timeout(30):
            while not is_removed(request_key):  # noqa: ASYNC110 - the other server tells nobody when it looked
                await asyncio.sleep(0.01)


async def for_request(client: httpx2.AsyncClient) -> RequestKey:
    """As the server behind ``client`` lends it to a request."""
    transport: Any = client._transport
    request_keys = await transport.app.state.services.keychain.collect_request_keys(DataOwner("admin"), {})
    key: RequestKey = request_keys.keys["openai"]
    return key


def is_removed(key: RequestKey) -> bool:
    try:
        key.get_secret_value()
    except KeyRemovedError:
        return True
    return False


async def test_the_master_key_is_rotated_while_a_server_serves(
    started: Started, provider: LoopbackProvider
) -> None:
    async with started.client() as client:
        await store(client)
        before = (started.data_dir / "master.keys").read_text().split()[-1]

        serving = asyncio.create_task(keep_serving(client))
        first, second = await rotate(started.data_dir), await rotate(started.data_dir)
        serving.cancel()
        statuses = await asyncio.gather(serving, return_exceptions=True)

        await process(client)
        await store(client, ANOTHER)
        await process(client)

    assert isinstance(statuses[0], asyncio.CancelledError)
    assert [done["locked_anew"] for done in (first, second)] == [1, 1]
    assert before not in (started.data_dir / "master.keys").read_text()
    assert {request.key for request in provider.requests} == {KEY, ANOTHER}


async def keep_serving(client: httpx2.AsyncClient) -> None:
    """Calls with the stored key, one after the other; ends with the first that fails."""
    while True:
        created = await process(client)
        assert created.json()["errors"] == {}


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (Text("ok"), "valid"),
        (Status(401, message=f"Incorrect API key provided: {KEY}."), "revoked"),
        (Status(429, error_code="insufficient_quota", message=KEY), "no_quota"),
        (Status(404, message=KEY), "no_access"),
    ],
    ids=["valid", "revoked", "no_quota", "no_access"],
)
async def test_a_check_reports_the_problem_and_nothing_that_the_provider_said(
    answer: Text | Status, verdict: str, started: Started, provider: LoopbackProvider
) -> None:
    for model in MODELS.values():
        provider.always(answer, model=model)

    async with started.client() as client:
        await store(client)
        told = await client.post("/v1/keys/openai/test")

    assert told.json()["verdict"] == verdict
    assert KEY not in told.text
    assert {request.key for request in provider.requests} == {KEY}


@pytest.mark.parametrize("stored", [True, False])
async def test_a_refused_key_shows_its_problem_until_a_call_works(
    started: Started, provider: LoopbackProvider, caplog: pytest.LogCaptureFixture, *, stored: bool
) -> None:
    refused = Status(401, message=f"Incorrect API key provided: {KEY}.")
    supplied = {} if stored else {"x-byok-openai": KEY}
    for model in MODELS.values():
        provider.always(refused, model=model)

    async with started.client() as client:
        await client.put("/v1/keys/openai", json={"key": KEY, "store": stored})
        for _ in range(2):
            await client.post("/v1/conversations", json=BODY, headers=supplied)
    async with started.client() as client:
        told = await client.get("/v1/keys/openai")
        for feature, answer in ANSWERS.items():
            provider.always(answer, model=MODELS[feature])
        await client.post("/v1/keys/openai/test", headers=supplied)
    async with started.client() as client:
        after = await client.get("/v1/keys")

    (key,) = told.json()["keys"]
    assert key["trouble"].keys() == {"reason", "endpoint", "since", "last"}
    assert key["trouble"]["reason"] == "revoked"
    (line,) = [line for line in caplog.messages if line.startswith("keys.refused")]
    assert line.startswith("keys.refused user=admin provider=openai reason=revoked endpoint=openai:")
    assert KEY not in told.text + caplog.text
    assert after.json()["keys"][0]["trouble"] is None


async def test_a_key_that_is_not_stored_is_tried_when_it_comes_along(
    started: Started, provider: LoopbackProvider
) -> None:
    async with started.client() as client:
        await client.put("/v1/keys/openai", json={"key": KEY, "store": False})
        without = await client.post("/v1/keys/openai/test")
        with_it = await client.post("/v1/keys/openai/test", headers={"x-byok-openai": KEY})

    assert without.json()["error"]["code"] == "key_not_found"
    assert with_it.json()["verdict"] == "valid"
    assert {request.key for request in provider.requests} == {KEY}


async def test_a_key_is_in_no_answer_log_or_file(
    started: Started, provider: LoopbackProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """The ways of a stored key and of one that comes along, those that fail among them."""
    caplog.set_level(logging.DEBUG)
    answers = []
    async with started.client() as client:
        await store(client)
        answers.append(await process(client))
        provider.always(
            Status(401, message=f"Incorrect API key provided: {KEY}."), model=MODELS["chat_responses"]
        )
        question = {"conversation_id": answers[0].json()["id"], "question": "When?"}
        supplied = {"x-byok-openai": KEY}
        answers += [
            await client.post("/v1/chat", json=question),
            await client.post("/v1/chat", json=question, headers=supplied),
            await client.post("/v1/chat", json=question, headers={"x-byok-gemini": KEY}),
            await client.get("/v1/keys"),
            await client.post("/v1/keys/openai/test"),
            await client.put("/v1/keys/openai", json={"key": f"{KEY} {KEY}"}),
            await client.put("/v1/keys/openai", json={"key": [KEY]}),
            await client.get("/metrics"),
            await client.get("/v1/llm/qos"),
            await client.get("/v1/llm/explain/chat_responses"),
        ]
        on_disk = [path.read_bytes() for path in started.data_dir.rglob("*") if path.is_file()]

    assert [answer.status_code for answer in answers] == [201, *[403] * 3, 200, 200, 422, 422, *[200] * 3]
    assert not any(KEY in answer.text for answer in answers)
    assert not any(KEY.encode() in content for content in on_disk)
    assert [record for record in caplog.records if KEY in f"{record.getMessage()} {record.__dict__}"] == []
    assert KEY not in caplog.text


@pytest.mark.parametrize("stored", [True, False])
async def test_after_its_request_no_value_of_a_key_is_left(
    started: Started, provider: LoopbackProvider, *, stored: bool
) -> None:
    """Timers that were cancelled hold on to the request's caller. That one holds no value."""
    supplied = {} if stored else {"x-byok-openai": KEY}
    async with started.client() as client:
        await client.put("/v1/keys/openai", json={"key": KEY, "store": stored})
        created = await client.post("/v1/conversations", json=BODY, headers=supplied)
        question = {"conversation_id": created.json()["id"], "question": "When?"}
        await client.post("/v1/chat", json=question, headers=supplied)
        del created
        gc.collect()

        left = [one for one in gc.get_objects() if isinstance(one, RequestKey)]
        secrets = [one for one in gc.get_objects() if isinstance(one, SecretStr)]

    assert {request.key for request in provider.requests} == {KEY}
    assert not any(key._value for key in left if isinstance(key, StoredKey | SuppliedKey))
    assert not any(
        secret.get_secret_value() == KEY for secret in secrets if not isinstance(secret, RequestKey)
    )


async def test_a_key_that_was_moved_to_another_row_cannot_be_used(
    started: Started, provider: LoopbackProvider
) -> None:
    async with started.client() as client:
        await store(client)
        engine = make_engine(started.data_dir / "patchbay.sqlite3")
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE user_keys SET id = 'another'"))
        await engine.dispose()

        created = await process(client)

    assert set(created.json()["errors"].values()) == {"key_unreadable"}
    assert len(provider.requests) == 0


class TestOwnEndpoint:
    """A server of the user's, stored over HTTP."""

    @pytest.fixture
    async def lab(self, provider: LoopbackProvider, tmp_path: Path) -> AsyncIterator[Started]:
        """Loopback is opened for the users' endpoints; the house's provider is not there."""
        provider.always(Text("On Monday at nine."))
        with LoopbackProvider() as house:
            features = {feature: f"openai:{model}" for feature, model in MODELS.items()}
            text = f'private_networks = ["127.0.0.0/8"]\n{loopback_table(house, features)}'
            monitor = KeyMonitor()
            patchbay = Patchbay(Table(text=text, environ=HOUSE_KEYS), observer=monitor.observe)
            yield Started(tmp_path / "data", patchbay, monitor)
            await patchbay.aclose()
            assert len(house.requests) == 0

    async def have(self, client: httpx2.AsyncClient, base_url: str, **more: object) -> httpx2.Response:
        body = {"base_url": base_url, "model": "llama", "key": KEY} | more
        return await client.put("/v1/keys/own", json=body)

    async def test_it_serves_with_its_key_after_a_restart(
        self, lab: Started, provider: LoopbackProvider
    ) -> None:
        async with lab.client() as client:
            assert (await self.have(client, provider.openai_url)).status_code == 200
        async with lab.client() as client:
            tried = await client.post("/v1/keys/own/test")
            explained = await client.get("/v1/llm/explain/conv_folder")

        assert (tried.json()["verdict"], tried.json()["endpoint"]) == ("valid", "own:llama")
        assert {(request.key, request.model) for request in provider.requests} == {(KEY, "llama")}
        (candidate,) = explained.json()["candidates"]
        assert (candidate["endpoint"], candidate["key_owner"]) == ("own:llama", "user")

    async def test_its_key_may_come_with_each_request(self, lab: Started, provider: LoopbackProvider) -> None:
        supplied = {"x-byok-own": KEY}
        async with lab.client() as client:
            await self.have(client, provider.openai_url, store=False)
            tried = await client.post("/v1/keys/own/test", headers=supplied)
            refused = await client.get("/v1/llm/qos", headers={"x-byok-own": ANOTHER})
            without = await client.post("/v1/conversations", json=BODY)

        assert tried.json()["verdict"] == "valid"
        assert refused.json()["error"]["code"] == "key_not_enrolled"
        assert set(without.json()["errors"].values()) == {"credential_missing"}
        assert {request.key for request in provider.requests} == {KEY}

    async def test_own_endpoint_that_refuses_its_key_is_reported(
        self, lab: Started, provider: LoopbackProvider
    ) -> None:
        provider.always(Status(401, message=KEY))
        async with lab.client() as client:
            await self.have(client, provider.openai_url)
            await client.post("/v1/keys/own/test")
        async with lab.client() as client:
            (key,) = (await client.get("/v1/keys/own")).json()["keys"]

        assert (key["trouble"]["reason"], key["trouble"]["endpoint"]) == ("revoked", "own:llama")

    async def test_an_address_that_was_changed_in_the_database_gets_no_key(
        self, lab: Started, provider: LoopbackProvider
    ) -> None:
        async with lab.client() as client:
            await self.have(client, "https://models.example/v1")
            engine = make_engine(lab.data_dir / "patchbay.sqlite3")
            async with engine.begin() as connection:
                await connection.execute(
                    text("UPDATE user_keys SET base_url = :url"), {"url": provider.openai_url}
                )
            await engine.dispose()
            created = await process(client)

        assert set(created.json()["errors"].values()) == {"key_unreadable"}
        assert len(provider.requests) == 0

    async def test_an_address_in_the_house_is_refused(self, lab: Started) -> None:
        async with lab.client() as client:
            refused = await self.have(client, "https://10.0.0.7/v1")
            listed = await client.get("/v1/keys")

        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "own_endpoint")
        assert listed.json()["keys"] == []
