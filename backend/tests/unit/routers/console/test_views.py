"""Every view: whole pages, their twins in JSON, who may see them, and what others wrote stays text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backend.access import Grant
from backend.routers.rendering import MENU
from backend.tests.fakes.html import read_page
from backend.tests.fakes.records import record
from backend.tests.fakes.services import ANN, FakeLocalModel
from backend.utils.llm import Patchbay, Table

from .conftest import (
    ADMIN,
    CALL,
    FOR_ADMINS,
    HOSTILE,
    JSON,
    KEYS,
    OTHERS,
    PATHS,
    VIEWS,
    assert_no_secret,
    happen,
    now_us,
    provide,
    rows,
)
from .test_changes import override_something

if TYPE_CHECKING:
    import httpx2
    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.utils.llm.ledger.record import AttemptRecord


async def test_an_empty_view_is_a_whole_page(browser: httpx2.AsyncClient) -> None:
    for path in (*VIEWS, *OTHERS[1:]):
        response = await browser.get(path, headers=ADMIN)

        assert response.status_code == 200, path
        assert read_page(response.text).faults == [], path


async def test_a_view_with_data_is_a_whole_page(
    app: FastAPI, engine: AsyncEngine, browser: httpx2.AsyncClient
) -> None:
    await happen(app, engine, rows())
    await override_something(app)

    for path in PATHS:
        response = await browser.get(path, headers=ADMIN)

        assert response.status_code == 200, path
        assert read_page(response.text).faults == [], path
        assert response.headers["cache-control"] == "no-store"
        assert_no_secret(response.text)


async def test_every_view_has_a_twin_in_json(
    app: FastAPI, engine: AsyncEngine, browser: httpx2.AsyncClient
) -> None:
    await happen(app, engine, rows())

    for path in PATHS:
        response = await browser.get(path, headers=ADMIN | JSON)

        assert response.status_code == 200, path
        assert response.headers["content-type"] == "application/json"
        assert isinstance(response.json(), dict)
        assert_no_secret(response.text)


async def test_text_of_models_and_people_stays_text(
    app: FastAPI, engine: AsyncEngine, browser: httpx2.AsyncClient
) -> None:
    names = (
        "feature",
        "endpoint",
        "served_model",
        "request_id",
        "user",
        "tenant",
        "profile",
        "account",
        "key",
    )
    others = ("finish_reason", "price_version", "table_hash", "arm", "trace")
    await happen(app, engine, rows(**dict.fromkeys((*names, *others), HOSTILE)))
    await happen(app, engine, [record(call=HOSTILE, at=now_us(), outcome="failed", category=HOSTILE)])
    await override_something(app, reason='"><script>alert(1)</script>')
    provide(app, local_model=FakeLocalModel(state="failed", reason=HOSTILE, label=HOSTILE))

    for path in PATHS:
        response = await browser.get(path, headers=ADMIN)

        document = read_page(response.text)
        assert document.faults == [], path
        assert "109876463" not in response.text, "it was reckoned"
        assert all(element["src"].startswith("/static/") for element in document.all("img", "script")), path


@pytest.mark.parametrize(
    "query",
    [
        "/features?text=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
        "/explain?feature=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&user=%3Cimg%3E&byok=%3Cscript%3E",
        "/requests?feature=%3Cscript%3E&model=%27%22%3E&user=javascript:alert(1)&before=%22%3E%3Cscript%3E",
        "/requests/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/spend?by=%3Cscript%3E",
        "/nothing/%3Cscript%3E",
        "/requests?call=%3Cscript%3E/a?b%23c",
        "/requests?user=%00&feature=%00",
        "/explain?feature=conv_folder&tokens=1e9999",
        "/features?page=99999999999999999999&only=%27",
    ],
)
async def test_what_an_address_says_stays_text(query: str, browser: httpx2.AsyncClient) -> None:
    response = await browser.get(query, headers=ADMIN)

    assert response.status_code < 500
    assert "<script>alert" not in response.text
    if response.headers.get("content-type", "").startswith("text/html"):
        assert read_page(response.text).faults == []


class TestWho:
    async def test_a_visitor_is_shown_how_to_log_in(self, browser: httpx2.AsyncClient) -> None:
        for path in PATHS:
            response = await browser.get(path)

            assert response.status_code == 401, path
            assert "/login?token=" in response.text
            assert read_page(response.text).faults == []

    async def test_a_user_sees_no_view_of_everybodys(self, browser: httpx2.AsyncClient) -> None:
        for path in FOR_ADMINS:
            response = await browser.get(path, headers=ANN)

            assert response.status_code == 403, path
            assert "This is not for you" in response.text
            assert read_page(response.text).faults == []

    async def test_a_user_is_led_to_what_is_theirs(self, browser: httpx2.AsyncClient) -> None:
        response = await browser.get("/", headers=ANN)
        assert (response.status_code, response.headers["location"]) == (303, "/conversations")

        menu = read_page((await browser.get("/conversations", headers=ANN)).text).all("a")
        assert [element["href"] for element in menu if element["href"] in VIEWS] == [
            "/",
            "/agents",
            "/conversations",
            "/playground",
        ]

    @pytest.mark.parametrize(
        ("grant", "sees"),
        [
            (Grant("ann"), {"agents", "conversations", "playground"}),
            (Grant("ann", scopes=frozenset({"debug"})), {place.name for place in MENU[:7]}),
            (Grant("ann", scopes=frozenset({"admin"})), {place.name for place in MENU}),
            (Grant("ann", "acme", frozenset({"admin"})), {"agents", "conversations", "playground", "tokens"}),
        ],
        ids=["call", "debug", "admin", "admin of a tenant"],
    )
    def test_the_menu_leads_to_what_one_may_see(self, grant: Grant, sees: set[str]) -> None:
        assert {place.name for place in MENU if place.is_visible_to(grant)} == sees

    @pytest.mark.parametrize(("headers", "status"), [({}, 401), (ANN, 403)])
    async def test_a_program_is_told_in_json(
        self, headers: dict[str, str], status: int, browser: httpx2.AsyncClient
    ) -> None:
        response = await browser.get("/requests", headers=headers | JSON)

        assert response.status_code == status
        assert set(response.json()) == {"error"}


def many() -> list[AttemptRecord]:
    """Calls of all features, on many endpoints, over a month."""
    features = sorted(Patchbay(Table(environ=KEYS)).get_qos_info().features)
    day = 86_400_000_000
    return [
        record(
            call=CALL.format(number),
            at=now_us() - number % 30 * day - number * 1_000,
            feature=features[number % len(features)],
            endpoint=f"provider-{number % 4}:some-model-with-a-name-{number % 7}",
            user=f"user-{number % 90}",
            tenant=f"tenant-{number % 70}",
            degraded=bool(number % 2),
            outcome="failed" if number % 9 == 0 else "ok",
        )
        for number in range(1_500)
    ]
