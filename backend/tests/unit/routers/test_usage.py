"""What was used, over HTTP: everybody's for admins, one's own for everybody."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from backend.access import Grant
from backend.database.engine import open_and_migrate_sqlite
from backend.database.ledger import make_ledger_store
from backend.database.usage import SqlUsageStore
from backend.ledger.store import StoreUnreachableError
from backend.tests.fakes.records import DAY, NOON, record, spooled
from backend.tests.fakes.services import ANN, InMemoryTokens
from backend.tests.fakes.services import services as fake_services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx2

    from .conftest import Connect

ADMIN = {"authorization": "Bearer token-of-admin"}
PERIOD = "since=2026-11-01&until=2026-11-29"
CALL = "0193a1b2-c3d4-7e5f-8a9b-{:012d}"
ROWS = [
    record(call=CALL.format(1), at=NOON - DAY),
    record(call=CALL.format(2), feature="chat", cost=None, user="bob", outcome="failed"),
    record(call=CALL.format(3), cost=900_000_000),
]


@pytest.fixture
async def client(connect: Connect, tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    async with open_and_migrate_sqlite(tmp_path / "ledger.sqlite3") as engine:
        await make_ledger_store(engine).add(spooled(ROWS))
        yield connect(replace(fake_services(), usage=SqlUsageStore(engine)))


async def ask(client: httpx2.AsyncClient, path: str, headers: dict[str, str] = ADMIN) -> Any:
    answer = await client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def counts(found: Any) -> dict[str | None, int]:
    return {each["key"]: each["attempts"] for each in found["usage"]}


async def test_a_tenants_token_sees_what_its_tenant_used(connect: Connect, tmp_path: Path) -> None:
    rows = [record(call=CALL.format(1), tenant="acme"), record(call=CALL.format(2), tenant="other")]
    grant = Grant("ann", "acme", frozenset({"debug"}), "t")
    async with open_and_migrate_sqlite(tmp_path / "ledger.sqlite3") as engine:
        await make_ledger_store(engine).add(spooled(rows))
        held = replace(fake_services(), usage=SqlUsageStore(engine), tokens=InMemoryTokens(given=grant))
        client, headers = connect(held), {"authorization": "Bearer given"}

        everything = await ask(client, f"/v1/usage?{PERIOD}", headers)
        listed = await ask(client, "/v1/usage/requests", headers)
        statuses = [
            (await client.get(path, headers=headers)).status_code
            for path in (
                f"/v1/usage/requests/{CALL.format(1)}",
                f"/v1/usage/requests/{CALL.format(2)}",
                "/v1/usage?tenant=other",
            )
        ]

    assert everything["total"]["attempts"] == 1
    assert [one["call"] for one in listed["requests"]] == [CALL.format(1)]
    assert statuses == [200, 404, 403]


async def test_an_admin_sees_what_everybody_used(client: httpx2.AsyncClient) -> None:
    found = await ask(client, f"/v1/usage?{PERIOD}")

    assert (found["by"], found["since"], found["until"]) == ("feature", "2026-11-01", "2026-11-29")
    assert counts(found) == {"conv_folder": 2, "chat": 1}
    assert found["total"]["cost_usd"] == "0.00135"
    assert (found["total"]["unpriced"], found["total"]["failures"]) == (1, 1)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("by=user", {"ann": 2, "bob": 1}),
        ("by=day&user=ann", {"2026-11-28": 1, "2026-11-29": 1}),
        ("by=model&feature=chat&owner=house", {"openai:gpt-6-luna": 1}),
        ("by=feature&tenant=acme&limit=1", {"conv_folder": 2}),
    ],
)
async def test_it_is_told_by_what_is_asked_for(
    client: httpx2.AsyncClient, query: str, expected: dict[str, int]
) -> None:
    assert counts(await ask(client, f"/v1/usage?{PERIOD}&{query}")) == expected


async def test_a_user_sees_what_they_used_and_no_more(connect: Connect, tmp_path: Path) -> None:
    rows = [
        record(call=CALL.format(1), tenant=None, at=NOON - DAY),
        record(call=CALL.format(2), tenant=None, cost=900_000_000),
        record(call=CALL.format(3), tenant=None, user="bob", cost=None),
        *(record(call=CALL.format(number), tenant="acme") for number in range(4, 8)),
        record(call=CALL.format(8), tenant="globex"),
    ]
    tokens = InMemoryTokens(
        acmes=Grant("ann", "acme"), globexs=Grant("ann", "globex"), others=Grant("ann", "x")
    )
    async with open_and_migrate_sqlite(tmp_path / "ledger.sqlite3") as engine:
        await make_ledger_store(engine).add(spooled(rows))
        client = connect(replace(fake_services(), usage=SqlUsageStore(engine), tokens=tokens))
        found = {
            name: await ask(client, f"/v1/users/me/usage?{PERIOD}", {"authorization": f"Bearer {name}"})
            for name in ("token-of-ann", "token-of-bob", "acmes", "globexs", "others")
        }

    assert {name: counts(one) for name, one in found.items()} == {
        "token-of-ann": {"2026-11-28": 1, "2026-11-29": 1},
        "token-of-bob": {"2026-11-29": 1},
        "acmes": {"2026-11-29": 4},
        "globexs": {"2026-11-29": 1},
        "others": {},
    }
    assert found["token-of-ann"]["total"]["cost_usd"] == "0.00135"


async def test_requests_come_page_by_page(client: httpx2.AsyncClient) -> None:
    first = await ask(client, "/v1/usage/requests?limit=2")
    second = await ask(client, f"/v1/usage/requests?limit=2&before={first['next_before']}")

    calls = [each["call"] for page in (first, second) for each in page["requests"]]
    assert calls == [CALL.format(number) for number in (3, 2, 1)]
    assert second["next_before"] is None


async def test_one_request_is_found_by_the_id_of_its_receipt(client: httpx2.AsyncClient) -> None:
    found = await ask(client, f"/v1/usage/requests/{CALL.format(2)}")

    assert [(each["feature"], each["cost_usd"]) for each in found["attempts"]] == [("chat", None)]
    missing = await client.get("/v1/usage/requests/nothing", headers=ADMIN)
    assert missing.status_code == 404


@pytest.mark.parametrize("path", ["/v1/usage", "/v1/usage/requests", "/v1/usage/requests/x"])
async def test_only_an_admin_sees_others(client: httpx2.AsyncClient, path: str) -> None:
    assert (await client.get(path, headers=ANN)).status_code == 403
    assert (await client.get(path)).status_code == 401


@pytest.mark.parametrize(
    "query",
    [
        "by=key",
        "by=user&feature=chat",
        "since=2026-11-02&until=2026-11-01",
        "since=yesterday",
        "since=1960-01-01",
        "limit=0",
        "owner=nobody",
        "user=",
        "tokens=1",
    ],
)
async def test_what_cannot_be_answered_is_refused(client: httpx2.AsyncClient, query: str) -> None:
    assert (await client.get(f"/v1/usage?{query}", headers=ADMIN)).status_code == 422


async def test_without_days_it_is_the_last_thirty(client: httpx2.AsyncClient) -> None:
    assert (await ask(client, "/v1/usage?until=2026-12-28"))["since"] == "2026-11-29"
    assert (await ask(client, "/v1/usage?since=9999-12-31"))["until"] == "9999-12-31"
    assert (await ask(client, "/v1/usage?until=1970-01-02"))["since"] == "1970-01-01"


async def test_a_store_that_is_away_is_no_fault_of_the_request(connect: Connect) -> None:
    class Away:
        async def sum_by_dimension(self, *_: Any, **__: Any) -> None:
            raise StoreUnreachableError

    client = connect(replace(fake_services(), usage=Away()))  # type: ignore[arg-type]

    assert (await client.get("/v1/usage", headers=ADMIN)).status_code == 503
