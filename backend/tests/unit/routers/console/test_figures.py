"""What the views say of the table, the attempts and the money."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backend.ledger.store import StoreUnreachableError
from backend.tests.fakes.records import record
from backend.tests.fakes.services import FakeDatabase
from backend.utils.llm import Patchbay, Table
from backend.utils.llm.failures import FailureCategory

from .conftest import (
    ADMIN,
    CALL,
    JSON,
    KEYS,
    OTHERS,
    TABLE,
    happen,
    now_us,
    provide,
    quiet,
    rows,
    text_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2
    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncEngine


class TestNow:
    async def test_with_nothing_to_tell_all_is_well(self, app: FastAPI, browser: httpx2.AsyncClient) -> None:
        provide(app, facade=quiet(app))

        assert "All is well, and quiet." in await text_of(browser, "/")

    async def test_an_endpoint_that_fails_is_theirs(
        self, app: FastAPI, engine: AsyncEngine, browser: httpx2.AsyncClient
    ) -> None:
        provide(app, facade=quiet(app))
        bad = [
            record(call=CALL.format(n), at=now_us(), outcome="failed", category="server") for n in range(9)
        ]
        await happen(app, engine, bad)

        text = await text_of(browser, "/")

        assert "It is them." in text
        assert "openai:gpt-6-luna failed 100 % of the attempts" in text

    async def test_a_database_that_is_away_is_ours_and_the_page_is_there(
        self, app: FastAPI, browser: httpx2.AsyncClient
    ) -> None:
        class Away:
            async def sum_by_combination(self, *_: Any) -> Any:
                raise StoreUnreachableError("away")

        provide(app, usage=Away(), database=FakeDatabase("unreachable"))

        text = await text_of(browser, "/")

        assert "It is us." in text
        assert "The database cannot be used: unreachable." in text

    async def test_what_rests_stands_with_its_reason_and_its_end(
        self, app: FastAPI, browser: httpx2.AsyncClient
    ) -> None:
        facade = app.state.services.facade
        first = facade.explain("conv_folder").candidates[0]
        for _ in range(5):
            facade.health.record_failure(first.endpoint_circuit, FailureCategory.SERVER)

        told = (await browser.get("/", headers=ADMIN | JSON)).json()
        text = await text_of(browser, "/")

        (resting,) = told["resting"]
        assert (resting["name"], resting["state"], resting["failures"]) == (first.display_name, "open", 5)
        assert "It failed on its own side, 5 times in a row." in text
        assert f"instead of {first.display_name}" in await text_of(browser, "/features")

    async def test_a_limit_that_is_nearly_full_stands_there(
        self, app: FastAPI, browser: httpx2.AsyncClient, tmp_path: Path
    ) -> None:
        path = tmp_path / "llm.toml"
        limits = '\n[models."openai:gpt-6-luna"]\nlimits = { requests = "10/minute" }\n'
        path.write_text(TABLE + limits)
        facade = Patchbay(Table(path, environ=KEYS))
        provide(app, facade=facade)
        (meter, *_) = facade.explain("conv_folder").candidates[0].meters
        with facade.health.traffic.lock:
            for number in range(9):
                facade.health.traffic.rate_limiter.count_request([meter], 1, number, 1e12)

        told = (await browser.get("/", headers=ADMIN | JSON)).json()["limits"]

        assert [(one["name"], one["used"], one["most"]) for one in told] == [
            ("requests per minute to openai:gpt-6-luna", "9", "10")
        ]

    async def test_only_what_changes_is_sent_again(self, browser: httpx2.AsyncClient) -> None:
        response = await browser.get("/", headers=ADMIN | {"hx-request": "true"})

        assert response.text.lstrip().startswith("<section")
        assert "<nav" not in response.text
        assert "HX-Request" in response.headers["vary"]

    async def test_a_day_has_twenty_four_hours(
        self, app: FastAPI, engine: AsyncEngine, browser: httpx2.AsyncClient
    ) -> None:
        hour = 3_600_000_000
        await happen(app, engine, [record(call=CALL.format(n), at=now_us() - n * hour) for n in range(30)])

        told = (await browser.get("/", headers=ADMIN | JSON)).json()

        assert [attempts for attempts, _ in told["by_hour"]] == [1] * 24
        assert told["day"]["attempts"] == 24


async def test_features_are_found_by_their_name_their_purpose_and_their_models(
    browser: httpx2.AsyncClient,
) -> None:
    async def names(query: str) -> list[str]:
        told = (await browser.get(f"/features?{query}", headers=ADMIN | JSON)).json()
        return [one["name"] for one in told["features"]]

    assert "conv_folder" in await names("text=FOLDER")
    assert "fair_use" in await names("text=gpt-5.1")
    assert await names("text=no+such+thing") == []
    assert await names("only=overridden") == []


async def test_a_call_is_found_by_its_id(browser: httpx2.AsyncClient) -> None:
    response = await browser.get(f"/requests?call={CALL.format(7)}", headers=ADMIN)
    assert (response.status_code, response.headers["location"]) == (303, f"/requests/{CALL.format(7)}")

    missing = await browser.get(f"/requests/{CALL.format(7)}", headers=ADMIN)
    assert missing.status_code == 404
    assert "No call has this id." in missing.text


async def test_one_request_tells_what_happened_inside(
    app: FastAPI, engine: AsyncEngine, browser: httpx2.AsyncClient
) -> None:
    await happen(app, engine, rows())

    told = (await browser.get(f"/requests/{CALL.format(1)}", headers=ADMIN | JSON)).json()

    assert told["row"]["chips"] == ["fallback", "cached"]
    assert told["row"]["cost_usd"] is None
    assert [(one["outcome"], one["offset_s"]) for one in told["attempts"]] == [("failed", 0), ("ok", 2)]
    assert told["attempts"][1]["served_model"] == "gpt-6-luna-2026-08-01"
    assert "another model served" in await text_of(browser, f"/requests/{CALL.format(1)}")


async def test_spend_adds_up_and_looks_ahead(
    app: FastAPI, engine: AsyncEngine, browser: httpx2.AsyncClient
) -> None:
    await happen(app, engine, rows(cost=10**12))

    told = (await browser.get("/spend", headers=ADMIN | JSON)).json()

    assert told["total"]["cost_usd"] == "5"
    assert {one["name"]: one["sums"]["cost_usd"] for one in told["spenders"]} == {
        "conv_folder": "4",
        "chat_agent": "1",
    }
    assert sum(float(cost) for day in told["days"] for cost in day["cost_usd"]) == 5
    assert told["series"] == ["conv_folder", "chat_agent"]


async def test_explain_names_what_was_skipped_and_why_and_says_it_for_a_terminal(
    browser: httpx2.AsyncClient,
) -> None:
    text = await text_of(browser, OTHERS[1])

    assert (
        "python -m backend explain conv_folder --user ann --tier pro --byok openai --tokens 3000 --tools"
        in text
    )
    assert "keys byok only" in text
