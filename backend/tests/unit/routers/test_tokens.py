"""Access tokens over HTTP: made, listed and revoked, each shown once, and by a tenant's admin for the tenant alone."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker

from backend.access import SCOPES, Grant, Scope
from backend.database.engine import open_and_migrate_sqlite
from backend.database.tokens import TokenStore
from backend.tests.fakes.services import services as fake_services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx2

    from .conftest import Connect

WANTED = {"name": "ci", "user_id": "bob"}
Headers = dict[str, str]


class Office:
    """The service on tokens that are stored, and headers of whoever has which grant."""

    def __init__(self, client: httpx2.AsyncClient, tokens: TokenStore) -> None:
        self.client = client
        self._tokens = tokens

    async def holder(self, *scopes: Scope, tenant: str = "") -> Headers:
        _, plain = await self._tokens.issue_token(Grant("ann", tenant, frozenset(scopes)), "laptop")
        return {"authorization": f"Bearer {plain}"}

    async def make(self, headers: Headers, **wanted: Any) -> httpx2.Response:
        return await self.client.post("/v1/tokens", json=WANTED | wanted, headers=headers)

    async def names(self, headers: Headers) -> list[str]:
        answer = (await self.client.get("/v1/tokens", headers=headers)).json()
        return [one["name"] for one in answer["tokens"]]


@pytest.fixture
async def office(connect: Connect, tmp_path: Path) -> AsyncIterator[Office]:
    async with open_and_migrate_sqlite(tmp_path / "tokens.sqlite3") as engine:
        tokens = TokenStore(async_sessionmaker(engine))
        yield Office(connect(replace(fake_services(), tokens=tokens, given_tokens=tokens)), tokens)


async def test_a_token_is_shown_this_once_and_may_do_what_was_asked_for(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    admin = await office.holder("admin")

    made = await office.make(
        admin,
        scopes=["call", "debug"],
        rate="60/minute",
        budget={"usd": "2.50", "period": "day"},
        expires_at="2099-01-01T00:00:00Z",
    )
    listed = await office.client.get("/v1/tokens", headers=admin)

    token = made.json().pop("token")
    assert made.status_code == 201
    facts = {name: value for name, value in made.json().items() if name not in {"token", "id", "created_at"}}
    assert facts == {
        "name": "ci",
        "user_id": "bob",
        "tenant_id": "",
        "scopes": ["call", "debug"],
        "rate": "60/minute",
        "budget": {"usd": "2.50", "period": "day"},
        "last_used_at": None,
        "expires_at": "2099-01-01T00:00:00Z",
        "revoked_at": None,
    }
    assert token not in listed.text + caplog.text
    assert (
        await office.client.get("/v1/usage", headers={"authorization": f"Bearer {token}"})
    ).status_code == 404


async def test_one_that_is_revoked_is_refused_from_then_on(office: Office) -> None:
    admin = await office.holder("admin")
    made = (await office.make(admin)).json()
    mine = {"authorization": f"Bearer {made['token']}"}
    before = await office.client.get("/v1/keys", headers=mine)

    ended = [await office.client.delete(f"/v1/tokens/{made['id']}", headers=admin) for _ in range(2)]

    assert (before.status_code, [response.status_code for response in ended]) == (200, [204, 404])
    assert (await office.client.get("/v1/keys", headers=mine)).status_code == 401


async def test_a_tenants_admin_makes_sees_and_ends_its_tokens_alone(office: Office) -> None:
    house, acme = await office.holder("admin"), await office.holder("admin", tenant="acme")
    of_the_house = (await office.make(house, name="house")).json()

    made = await office.make(acme, name="theirs", scopes=list(SCOPES))
    elsewhere = await office.make(acme, tenant_id="other")
    of_nobody = await office.make(acme, tenant_id="")
    ended = await office.client.delete(f"/v1/tokens/{of_the_house['id']}", headers=acme)

    assert made.json()["tenant_id"] == "acme"
    assert (elsewhere.status_code, of_nobody.status_code, ended.status_code) == (403, 403, 404)
    assert sorted(await office.names(acme)) == ["laptop", "theirs"]
    assert sorted(await office.names(house)) == ["house", "laptop", "laptop", "theirs"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "two\nlines"},
        {"name": "invoice\u202etxt.exe"},
        {"user_id": "ad\u200bmin"},
        {"tenant_id": "acme\u2066"},
        {"user_id": "ann\U000e0041"},
        {"scopes": []},
        {"scopes": ["everything"]},
        {"rate": "often"},
        {"budget": {"usd": "0", "period": "day"}},
        {"budget": {"usd": "5", "period": "week"}},
        {"expires_at": "2099-01-01T00:00:00"},
        {"token": "pb_chosen"},
    ],
    ids=str,
)
async def test_what_is_no_token_to_make_is_refused_and_none_is_made(
    wrong: dict[str, Any], office: Office
) -> None:
    admin = await office.holder("admin")

    assert (await office.make(admin, **wrong)).status_code == 422
    assert await office.names(admin) == ["laptop"]
