"""A user's keys over HTTP: what is told, and what never is."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from backend.keys.rate_limit import MOST
from backend.routers.keys import LONGEST_OVERLAP
from backend.tests.fakes.services import ANN, BOB

if TYPE_CHECKING:
    import httpx2

    from .conftest import Connect

KEY = "sk-canary-of-ann-012345679876"
URL = "/v1/keys/openai"
SERVER = {"base_url": "https://Models.example:443/v1/", "model": "llama"}


@pytest.fixture
def client(connect: Connect) -> httpx2.AsyncClient:
    return connect()


async def put(client: httpx2.AsyncClient, key: str = KEY, **more: Any) -> httpx2.Response:
    return await client.put(URL, json={"key": key} | more, headers=ANN)


class TestTold:
    async def test_a_stored_key_is_shown_by_its_last_four_and_its_fingerprint(
        self, client: httpx2.AsyncClient
    ) -> None:
        made = await put(client)

        assert made.status_code == 200
        assert set(made.json()) == {
            "provider",
            "base_url",
            "model",
            "stored",
            "last_four",
            "fingerprint",
            "created_at",
            "last_used_at",
            "valid_until",
            "trouble",
        }
        assert (made.json()["stored"], made.json()["last_four"]) == (True, "9876")
        assert len(made.json()["fingerprint"]) == 16

    async def test_no_answer_holds_the_key(self, client: httpx2.AsyncClient) -> None:
        answers = [
            await put(client),
            await client.get(URL, headers=ANN),
            await client.get("/v1/keys", headers=ANN),
            await client.post(f"{URL}/test", headers=ANN),
            await client.delete(URL, headers=ANN),
        ]

        assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 204]
        assert not any(KEY[:-4] in answer.text for answer in answers)

    async def test_a_new_key_and_the_one_before_are_listed_while_both_hold(
        self, client: httpx2.AsyncClient
    ) -> None:
        await put(client)
        await put(client, store=False, overlap_s=3600)

        told = (await client.get(URL, headers=ANN)).json()["keys"]

        assert [key["stored"] for key in told][:2] == [False, True]
        assert [key["valid_until"] is None for key in told][:2] == [True, False]

    async def test_the_list_has_every_provider(self, client: httpx2.AsyncClient) -> None:
        await put(client)
        await client.put("/v1/keys/gemini", json={"key": KEY}, headers=ANN)

        told = (await client.get("/v1/keys", headers=ANN)).json()["keys"]

        assert {key["provider"] for key in told} == {"gemini", "openai"}

    async def test_use_shows(self, client: httpx2.AsyncClient) -> None:
        await client.get("/v1/llm/explain/conv_folder", headers=ANN | {"x-byok-openai": "sk-of-ann"})

        (told,) = (await client.get(URL, headers=ANN)).json()["keys"]

        assert told["last_used_at"] is not None


class TestChosen:
    """Whether the house may pay in a user's stead: nobody but the user says so, and nothing but that."""

    async def policy(self, client: httpx2.AsyncClient, headers: dict[str, str] = ANN) -> object:
        told = await client.get("/v1/llm/explain/conv_folder", headers=headers)
        return told.json()["policy"]

    async def test_nothing_is_chosen_for_a_user(self, client: httpx2.AsyncClient) -> None:
        await put(client)

        assert (await client.get("/v1/keys", headers=ANN)).json()["house_fallback"] is False
        assert await self.policy(client) == "byok_only"

    async def test_what_a_user_chose_holds_for_all_their_keys_until_they_choose_anew(
        self, client: httpx2.AsyncClient
    ) -> None:
        chosen = await client.put("/v1/keys", json={"house_fallback": True}, headers=BOB)
        assert chosen.json()["house_fallback"] is True
        assert await self.policy(client, BOB) == "house_only"

        await client.put(URL, json={"key": KEY}, headers=BOB)
        assert await self.policy(client, BOB) == "byok_then_house"
        assert await self.policy(client, BOB | {"x-byok-openai": KEY}) == "byok_then_house"

        await client.put("/v1/keys", json={"house_fallback": False}, headers=BOB)
        assert await self.policy(client, BOB) == "byok_only"

    async def test_it_holds_for_keys_that_are_not_stored_and_did_not_come(
        self, client: httpx2.AsyncClient
    ) -> None:
        await client.put(URL, json={"key": KEY, "store": False}, headers=BOB)
        assert await self.policy(client, BOB) == "byok_only"

        await client.delete(URL, headers=BOB)
        assert await self.policy(client, BOB) == "house_only"

    async def test_a_choice_holds_for_no_other_user(self, client: httpx2.AsyncClient) -> None:
        await client.put("/v1/keys", json={"house_fallback": True}, headers=ANN)
        await client.put(URL, json={"key": KEY}, headers=BOB)

        assert (await client.get("/v1/keys", headers=BOB)).json()["house_fallback"] is False
        assert await self.policy(client, BOB) == "byok_only"

    async def test_a_body_of_another_shape_chooses_nothing(self, client: httpx2.AsyncClient) -> None:
        answer = await client.put("/v1/keys", json={"house_fallback": True, "tier": "pro"}, headers=ANN)

        assert answer.status_code == 422
        assert (await client.get("/v1/keys", headers=ANN)).json()["house_fallback"] is False


class TestOwnEndpoint:
    async def test_an_own_endpoint_is_shown_with_its_address(self, client: httpx2.AsyncClient) -> None:
        made = await client.put("/v1/keys/own", json=SERVER | {"key": KEY}, headers=ANN)

        assert made.status_code == 200
        for told in (made.json(), (await client.get("/v1/keys/own", headers=ANN)).json()["keys"][0]):
            assert (told["provider"], told["stored"], told["last_four"]) == ("own", True, "9876")
            assert (told["base_url"], told["model"]) == ("https://models.example/v1", "llama")
        assert KEY not in made.text

    @pytest.mark.parametrize(
        "base_url",
        [
            f"https://user:{KEY}@models.example/v1",
            f"https://models.example/v1?key={KEY}",
            f"ftp://{KEY}",
            "https://models.example:22/v1",
            "https://2130706433/v1",
        ],
    )
    async def test_what_is_no_plain_address_is_refused_and_not_repeated(
        self, base_url: str, client: httpx2.AsyncClient
    ) -> None:
        body = SERVER | {"base_url": base_url, "key": KEY}
        answer = await client.put("/v1/keys/own", json=body, headers=ANN)

        assert answer.status_code == 422
        assert answer.json()["error"]["message"].startswith("body.base_url: must ")
        assert KEY not in answer.text
        assert base_url not in answer.text

    async def test_an_address_where_it_may_not_be_is_refused(self, client: httpx2.AsyncClient) -> None:
        body = SERVER | {"base_url": "https://misplaced.example", "key": KEY}
        answer = await client.put("/v1/keys/own", json=body, headers=ANN)

        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "own_endpoint")
        assert (await client.get("/v1/keys/own", headers=ANN)).status_code == 404

    @pytest.mark.parametrize("missing", ["base_url", "model", "key"])
    async def test_it_needs_an_address_a_model_and_a_key(
        self, missing: str, client: httpx2.AsyncClient
    ) -> None:
        body = {name: value for name, value in (SERVER | {"key": KEY}).items() if name != missing}
        answer = await client.put("/v1/keys/own", json=body, headers=ANN)

        assert (answer.status_code, missing in answer.text) == (422, True)

    async def test_a_key_for_a_provider_has_no_address(self, client: httpx2.AsyncClient) -> None:
        answer = await client.put(URL, json=SERVER | {"key": KEY}, headers=ANN)

        assert answer.status_code == 422

    async def test_its_key_and_others_in_one_request_are_refused(self, client: httpx2.AsyncClient) -> None:
        await client.put("/v1/keys/own", json=SERVER | {"key": KEY}, headers=ANN)
        both = {"x-byok-own": KEY, "x-byok-openai": "sk-of-ann"}
        answer = await client.get("/v1/llm/explain/conv_folder", headers=ANN | both)

        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "endpoint_and_keys")


class TestRefused:
    async def test_the_keys_of_others_are_not_there(self, client: httpx2.AsyncClient) -> None:
        await put(client)

        assert (await client.get("/v1/keys", headers=BOB)).json() == {"keys": [], "house_fallback": False}
        for method, url in [("GET", URL), ("DELETE", URL), ("POST", f"{URL}/test")]:
            answer = await client.request(method, url, headers=BOB)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "key_not_found")
        assert (await client.get(URL, headers=ANN)).status_code == 200

    async def test_a_provider_that_the_table_does_not_know_takes_no_key(
        self, client: httpx2.AsyncClient
    ) -> None:
        answer = await client.put("/v1/keys/opnai", json={"key": KEY}, headers=ANN)

        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_provider")
        assert "gemini, openai, own" in answer.json()["error"]["message"]
        assert KEY not in answer.text

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    async def test_a_key_in_the_place_of_a_provider_is_not_repeated(
        self, method: str, client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING, "httpx2")  # the test's own client logs what it asks for
        body = {"key": KEY} if method == "PUT" else None
        answer = await client.request(method, f"/v1/keys/{KEY}", json=body, headers=ANN)

        assert answer.status_code == 404
        assert KEY not in answer.text

    @pytest.mark.parametrize("key", ["short", "with blanks in it", "ünïcödé-key", "x" * 513])
    async def test_what_is_no_key_is_refused_and_not_repeated(
        self, key: str, client: httpx2.AsyncClient
    ) -> None:
        answer = await put(client, key)

        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "key_malformed")
        assert key not in answer.text

    @pytest.mark.parametrize(
        "body",
        [
            {"key": [KEY]},
            {"key": {KEY: KEY}},
            {"key": KEY, "store": KEY},
            {"key": KEY, "overlap_s": -1},
            {"key": KEY, "overlap_s": LONGEST_OVERLAP + 1},
        ],
        ids=["list", "object", "store", "negative overlap", "long overlap"],
    )
    async def test_a_body_of_another_shape_is_refused_and_not_repeated(
        self, body: dict[str, Any], client: httpx2.AsyncClient
    ) -> None:
        answer = await client.put(URL, json=body, headers=ANN)

        assert answer.status_code == 422
        assert KEY not in answer.text


async def test_a_key_that_comes_with_its_own_enrolment_is_no_reason_to_refuse_it(
    client: httpx2.AsyncClient,
) -> None:
    answer = await client.put(URL, json={"key": KEY, "store": False}, headers=ANN | {"x-byok-openai": KEY})

    assert answer.status_code == 200
    used = await client.get("/v1/llm/explain/conv_folder", headers=ANN | {"x-byok-openai": KEY})
    assert used.status_code == 200


async def test_too_many_checks_are_refused_with_when_to_come_again(client: httpx2.AsyncClient) -> None:
    await put(client)

    answers = [await client.post(f"{URL}/test", headers=ANN) for _ in range(MOST + 1)]

    assert [answer.status_code for answer in answers] == [200] * MOST + [429]
    assert answers[-1].json()["error"]["code"] == "too_many_trials"
    assert int(answers[-1].headers["retry-after"]) > 0
