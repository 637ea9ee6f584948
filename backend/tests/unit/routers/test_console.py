"""The views: empty, with data, with hostile text; whom they are shown; what they weigh."""

from __future__ import annotations

import dataclasses
import html
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx2
import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker

from backend.access import Grant, Owner
from backend.agents.gate import Decision
from backend.agents.tools import tool
from backend.budgets import Budgets
from backend.database.engine import make_engine
from backend.database.ledger import sql_ledger
from backend.database.overrides import SqlOverrideStore
from backend.database.tokens import PREFIX, TokenStore
from backend.database.usage import SqlUsageStore
from backend.ledger.store import StoreAwayError
from backend.overrides import Overrides
from backend.recent import RecentAttempts
from backend.routers import pages
from backend.routers.rendering import CONSOLE, MENU
from backend.tests.fakes.agents import Effects, World, wants
from backend.tests.fakes.html import read_page
from backend.tests.fakes.records import record, spooled
from backend.tests.fakes.services import ANN, BOB, FakeDatabase, FakeLocalModel, services
from backend.utils.llm import Patchbay, Table
from backend.utils.llm.failures import Category
from backend.utils.llm.state.budget_store import MemoryBudgets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncEngine

    from backend.routers.dependencies import Services
    from backend.utils.llm.ledger.record import AttemptRecord

    from .conftest import MakeApp

ADMIN: Final = {"authorization": "Bearer token-of-admin"}
HTML: Final = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
JSON: Final = {"accept": "application/json"}
KEYS: Final = {
    "OPENAI_API_KEY": "sk-canary-openai",
    "GEMINI_API_KEY": "sk-canary-gemini",
    "ANTHROPIC_API_KEY": "sk-canary-anthropic",
}
HOSTILE: Final = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{1234567*89}}\x1b[31m\u202e"
CALL: Final = "0193a1b2-c3d4-7e5f-8a9b-{:012d}"
TABLE: Final = (Path(__file__).parents[3] / "llm.toml").read_text()
VIEWS: Final = tuple(place.path for place in MENU)
FOR_ADMINS: Final = tuple(place.path for place in MENU[1:] if not place.is_for(Grant("ann")))
OTHERS: Final = (
    f"/requests/{CALL.format(1)}",
    "/explain?feature=conv_folder&tokens=3000&tools=true&byok=openai&user=ann&tier=pro",
    "/explain?feature=no_such_thing",
    "/features?text=conv&only=trouble",
    "/requests?outcome=failed&feature=conv_folder&user=ann&tenant=acme&owner=house&model=openai:gpt-6-luna",
    "/spend?by=model&days=7",
    "/spend?by=user&days=90",
    "/spend?by=tenant",
)


PATHS: Final = (*VIEWS, *OTHERS)


def assert_no_secret(text: str) -> None:
    assert "canary" not in text
    assert "token-of-" not in text


def now_us() -> int:
    return int(datetime.now(UTC).timestamp() * 1e6)


def rows(**fields: Any) -> list[AttemptRecord]:
    """Four calls of the last minutes: one that was served at once, one at the second try, one that failed, one of nobody."""
    at = now_us()
    made = [
        record(
            call=CALL.format(1),
            at=at - 50_000_000,
            outcome="failed",
            category="server",
            status=503,
            cost=None,
        ),
        record(
            call=CALL.format(1),
            number=2,
            at=at - 48_000_000,
            endpoint="gemini:gemini-3.5-flash-lite",
            degraded=True,
        ),
        record(
            call=CALL.format(2), at=at - 40_000_000, feature="chat_agent", finish_reason="length", hedge=True
        ),
        record(call=CALL.format(3), at=at - 30_000_000, outcome="failed", category="rate_limit", status=429),
        record(call=CALL.format(4), at=at - 20_000_000, user=None, tenant=None, key_owner="user"),
    ]
    return [one._replace(**fields) for one in made]


@pytest.fixture
async def engine(with_tables: Path, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    made = make_engine(Path(shutil.copy(with_tables, tmp_path)))
    yield made
    await made.dispose()


@pytest.fixture
def given(engine: AsyncEngine) -> Services:
    """Services on a table of ours, with an empty ledger."""
    table = Table(environ=KEYS)
    facade, store = Patchbay(table), MemoryBudgets(lambda: datetime.now(UTC).timestamp())

    async def note(*_: Any, **__: Any) -> None: ...

    return dataclasses.replace(
        services(),
        facade=facade,
        usage=SqlUsageStore(engine),
        recent=RecentAttempts(),
        overrides=Overrides(SqlOverrideStore(async_sessionmaker(engine)), table),
        budgets=Budgets(store, table, note),
        given_tokens=TokenStore(async_sessionmaker(engine)),
    )


@pytest.fixture
def app(make_app: MakeApp, given: Services) -> FastAPI:
    return make_app(given)


@pytest.fixture
async def browser(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test", headers=HTML) as client:
        yield client


async def happen(app: FastAPI, engine: AsyncEngine, records: Sequence[AttemptRecord]) -> None:
    await sql_ledger(engine).add(spooled(records))
    for one in records:
        app.state.services.recent.append(one)


def provide(app: FastAPI, **changed: Any) -> None:
    app.state.services = dataclasses.replace(app.state.services, **changed)


async def text_of(browser: httpx2.AsyncClient, path: str) -> str:
    response = await browser.get(path, headers=ADMIN)
    assert response.status_code == 200, response.text
    return re.sub(r"\s+", " ", html.unescape(response.text))


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
        assert all(one["src"].startswith("/static/") for one in document.all("img", "script")), path


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
        assert [one["href"] for one in menu if one["href"] in VIEWS] == [
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
        assert {place.name for place in MENU if place.is_for(grant)} == sees

    @pytest.mark.parametrize(("headers", "status"), [({}, 401), (ANN, 403)])
    async def test_a_program_is_told_in_json(
        self, headers: dict[str, str], status: int, browser: httpx2.AsyncClient
    ) -> None:
        response = await browser.get("/requests", headers=headers | JSON)

        assert response.status_code == status
        assert set(response.json()) == {"error"}


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
            async def crossed(self, *_: Any) -> Any:
                raise StoreAwayError("away")

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
            facade.health.failed(first.circuit, Category.SERVER)

        told = (await browser.get("/", headers=ADMIN | JSON)).json()
        text = await text_of(browser, "/")

        (resting,) = told["resting"]
        assert (resting["name"], resting["state"], resting["failures"]) == (first.name, "open", 5)
        assert "It failed on its own side, 5 times in a row." in text
        assert f"instead of {first.name}" in await text_of(browser, "/features")

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
                facade.health.traffic.rate_limiter.take([meter], 1, number, 1e12)

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


class TestChanges:
    OURS: Final = {"sec-fetch-site": "same-origin", "content-type": "application/x-www-form-urlencoded"}
    FORM: Final = "feature=conv_folder&links=gemini:gemini-3.5-flash-lite&hours=4&reason=an+outage"

    async def test_an_admin_lays_something_over_the_table_and_reverts_it(
        self, app: FastAPI, browser: httpx2.AsyncClient
    ) -> None:
        stored = await browser.post("/config/overrides", headers=ADMIN | self.OURS, content=self.FORM)
        assert (stored.status_code, stored.headers["location"]) == (303, "/config#overrides")

        (one,) = (await browser.get("/config", headers=ADMIN | JSON)).json()["overrides"]
        assert (one["subject"], one["author"], one["reason"]) == ("conv_folder", "admin", "an outage")
        serves = app.state.services.facade.explain("conv_folder").candidates
        assert [str(each.endpoint) for each in serves] == ["gemini:gemini-3.5-flash-lite"]

        reverted = await browser.post(f"/config/overrides/{one['id']}/revert", headers=ADMIN | self.OURS)
        told = (await browser.get("/config", headers=ADMIN | JSON)).json()
        assert (reverted.status_code, told["overrides"], len(told["past"])) == (303, [], 1)

    @pytest.mark.parametrize("path", ["/config/overrides", "/config/overrides/some/revert"])
    @pytest.mark.parametrize(
        "proof",
        [{}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "none"}, {"origin": "http://elsewhere"}],
        ids=str,
    )
    async def test_anothers_page_changes_nothing(
        self, path: str, proof: dict[str, str], browser: httpx2.AsyncClient
    ) -> None:
        response = await browser.post(
            path, headers=ADMIN | {"content-type": self.OURS["content-type"]} | proof
        )

        assert response.status_code == 403
        assert (await browser.get("/config", headers=ADMIN | JSON)).json()["overrides"] == []

    @pytest.mark.parametrize("path", ["/config/overrides", "/config/overrides/some/revert"])
    async def test_a_user_changes_nothing(self, path: str, browser: httpx2.AsyncClient) -> None:
        response = await browser.post(path, headers=ANN | self.OURS, content=self.FORM)
        assert response.status_code == 403

    @pytest.mark.parametrize(
        "form",
        [
            "",
            "feature=conv_folder&links=&hours=4&reason=x",
            "feature=conv_folder&links=openai:gpt-6-luna&hours=often&reason=x",
            "feature=conv_folder&links=openai:gpt-6-luna&hours=99999999999999&reason=x",
            "feature=conv_folder&links=openai:gpt-6-luna&hours=4&reason=",
            "feature=no_such&links=openai:gpt-6-luna&hours=4&reason=x",
            "&".join(f"a{number}=1" for number in range(200)),
            "%ff=%fe",
        ],
    )
    async def test_a_form_that_makes_no_sense_is_told_on_a_page(
        self, form: str, browser: httpx2.AsyncClient
    ) -> None:
        response = await browser.post("/config/overrides", headers=ADMIN | self.OURS, content=form)

        assert response.status_code == 422
        assert read_page(response.text).faults == []


class TestTokens:
    OURS: Final = TestChanges.OURS
    FORM: Final = "name=%3Cb%3Eci&user_id=ann&call=true&debug=true&rate=60/minute&usd=5.50&period=day&days=30"

    async def test_a_token_is_shown_once_and_revoked(self, browser: httpx2.AsyncClient) -> None:
        made = await browser.post("/tokens", headers=ADMIN | self.OURS, content=self.FORM)
        page = await browser.get("/tokens", headers=ADMIN)
        (one,) = (await browser.get("/tokens", headers=ADMIN | JSON)).json()["tokens"]

        assert (read_page(made.text).faults, read_page(page.text).faults) == ([], [])
        assert made.headers["cache-control"] == "no-store"
        assert (made.text.count(f">{PREFIX}"), page.text.count(f">{PREFIX}")) == (1, 0)
        assert (one["name"], one["user_id"], one["scopes"], one["rate"]) == (
            "<b>ci",
            "ann",
            ["call", "debug"],
            "60/minute",
        )
        assert one["budget"] == {"usd": "5.50", "period": "day"}

        revoked = await browser.post(f"/tokens/{one['id']}/revoke", headers=ADMIN | self.OURS)
        again = await browser.post(f"/tokens/{one['id']}/revoke", headers=ADMIN | self.OURS)
        assert (revoked.status_code, again.status_code) == (303, 404)
        assert (await browser.get("/tokens", headers=ADMIN | JSON)).json()["tokens"][0]["revoked_at"]

    @pytest.mark.parametrize(
        "form",
        [
            "",
            "name=ci&user_id=ann",
            "name=ci&user_id=ann&call=true&days=x",
            "name=ci&user_id=ann&call=true&usd=-1",
        ],
    )
    async def test_what_makes_no_sense_makes_no_token(self, form: str, browser: httpx2.AsyncClient) -> None:
        response = await browser.post("/tokens", headers=ADMIN | self.OURS, content=form)

        assert response.status_code == 422
        assert (await browser.get("/tokens", headers=ADMIN | JSON)).json()["tokens"] == []

    @pytest.mark.parametrize(
        "headers", [ANN | TestChanges.OURS, ADMIN | {"content-type": TestChanges.OURS["content-type"]}]
    )
    async def test_nobody_else_makes_one(self, headers: dict[str, str], browser: httpx2.AsyncClient) -> None:
        assert (await browser.post("/tokens", headers=headers, content=self.FORM)).status_code == 403


class TestAgents:
    OURS: Final = TestChanges.OURS
    USER: Final = Owner("ann")

    @pytest.fixture
    async def world(self, app: FastAPI) -> World:
        """An agent that wants to write a note down, for Ann."""
        asking = tool(Effects().note, policy="ask", risk="dangerous")
        made = World([wants(("note", {"text": HOSTILE})), "It is done."], tools=[asking])
        provide(app, agents=made.runner)
        await made.say(HOSTILE, owner=self.USER)
        return made

    async def test_what_waits_stands_with_all_that_would_be_done_as_text(
        self, world: World, browser: httpx2.AsyncClient
    ) -> None:
        response = await browser.get("/agents", headers=ANN)
        told = (await browser.get("/agents", headers=ANN | JSON)).json()

        assert read_page(response.text).faults == []
        assert "hidden characters" in response.text
        assert [(one["tool"], one["state"]) for one in told["pending"]] == [("note", "pending")]
        assert [(one["agent"], one["state"], one["turns"]) for one in told["runs"]] == [
            ("clerk", "awaiting", 1)
        ]

    async def test_what_is_cut_can_be_approved_where_all_of_it_is_shown(
        self, app: FastAPI, browser: httpx2.AsyncClient
    ) -> None:
        text = "x" * 3_000
        world = World([wants(("note", {"text": text})), "Done."], tools=[tool(Effects().note)])
        provide(app, agents=world.runner)
        await world.say(owner=self.USER)
        (one,) = await world.pending(self.USER)

        cut = await browser.get("/agents", headers=ANN)
        uncut = await browser.get(f"/agents?whole={one.id}", headers=ANN)

        assert (one.digest in cut.text, 'value="approve"' in cut.text) == (False, False)
        assert (one.digest in uncut.text, 'value="approve"' in uncut.text, text in uncut.text) == (
            True,
            True,
            True,
        )
        assert read_page(cut.text).faults == read_page(uncut.text).faults == []

    async def test_nobody_is_shown_anothers(self, world: World, browser: httpx2.AsyncClient) -> None:
        for headers in (BOB, ADMIN):
            told = (await browser.get("/agents", headers=headers | JSON)).json()
            assert (told["pending"], told["runs"]) == ([], [])

    async def test_a_yes_runs_what_was_shown_once(self, world: World, browser: httpx2.AsyncClient) -> None:
        (one,) = await world.pending(self.USER)
        path, form = f"/agents/confirmations/{one.id}", f"decision=approve&digest={one.digest}"

        first = await browser.post(path, headers=ANN | self.OURS, content=form)
        again = await browser.post(path, headers=ANN | self.OURS, content=form)

        assert (first.status_code, first.headers["location"]) == (303, "/agents")
        assert again.status_code == 409
        assert (await browser.get("/agents", headers=ANN | JSON)).json()["runs"][0]["state"] == "done"

    async def test_what_may_have_run_runs_again_for_who_was_shown_so_alone(
        self, world: World, browser: httpx2.AsyncClient
    ) -> None:
        """A form of before, sent once more, is a yes to the first time and to no other."""
        (one,) = await world.pending(self.USER)
        path, old = f"/agents/confirmations/{one.id}", f"decision=approve&digest={one.digest}"

        async def statuses_of(*forms: str) -> list[int]:
            return [
                (await browser.post(path, headers=ANN | self.OURS, content=form)).status_code
                for form in forms
            ]

        async def is_left_running(*, again: bool) -> str:
            """Have it run by a process that ends, and return the form that the page has then."""
            await world.gate.claim(Decision(self.USER, one.id, one.digest, again))
            world.pass_by(60)
            page = (await browser.get("/agents", headers=ANN)).text
            found = re.search(r'name="again" value="(\d+)"', page)
            assert found
            return f"{old}&again={found[1]}"

        first = await is_left_running(again=False)
        assert await statuses_of(old, f"{old}&again=", f"{old}&again=true") == [409] * 3
        second = await is_left_running(again=True)
        assert await statuses_of(old, first) == [409] * 2
        assert world.results() == []

        assert await statuses_of(second, second) == [303, 409]

    async def test_a_no_runs_nothing(self, world: World, browser: httpx2.AsyncClient) -> None:
        (one,) = await world.pending(self.USER)

        form = f"decision=reject&digest={one.digest}&reason=not+today"
        await browser.post(f"/agents/confirmations/{one.id}", headers=ANN | self.OURS, content=form)

        assert "not today" in world.results()[0]

    @pytest.mark.parametrize(
        ("headers", "form", "status"),
        [
            (BOB | TestChanges.OURS, "decision=approve&digest={}", 404),
            (ANN | TestChanges.OURS, "decision=approve&digest=of-something-else", 409),
            (ANN | {"content-type": TestChanges.OURS["content-type"]}, "decision=approve&digest={}", 403),
        ],
    )
    async def test_nothing_else_runs(
        self, headers: dict[str, str], form: str, status: int, world: World, browser: httpx2.AsyncClient
    ) -> None:
        (one,) = await world.pending(self.USER)
        path = f"/agents/confirmations/{one.id}"

        response = await browser.post(path, headers=headers, content=form.format(one.digest))

        assert response.status_code == status
        assert [each.state for each in await world.pending(self.USER)] == ["pending"]


class TestLook:
    STYLES: Final = (CONSOLE / "static" / "console.css").read_text()

    @pytest.mark.parametrize("name", pages.STATIC)
    async def test_what_pages_load_is_there(self, name: str, browser: httpx2.AsyncClient) -> None:
        response = await browser.get(f"/static/{name}")

        assert response.status_code == 200
        assert response.headers["content-type"].startswith(pages.STATIC[name])

    @pytest.mark.parametrize("name", ["nothing.css", "..%2Fconsole.css", "../views/now.py"])
    async def test_nothing_else_is(self, name: str, browser: httpx2.AsyncClient) -> None:
        assert (await browser.get(f"/static/{name}")).status_code == 404

    async def test_scripts_come_from_us_alone_and_nothing_is_evaluated(
        self, browser: httpx2.AsyncClient
    ) -> None:
        policy = (await browser.get("/", headers=ADMIN)).headers["content-security-policy"]

        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        own = (CONSOLE / "static" / "console.js").read_text()
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(", own
        )

    async def test_a_page_weighs_less_than_a_hundred_kilobytes_with_all_that_it_loads(
        self, app: FastAPI, engine: AsyncEngine, browser: httpx2.AsyncClient
    ) -> None:
        await happen(app, engine, many())
        loaded = sum((CONSOLE / "static" / name).stat().st_size for name in pages.STATIC)

        sizes = {path: len((await browser.get(path, headers=ADMIN)).content) + loaded for path in VIEWS}

        assert max(sizes.values()) < 100_000, sizes

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize(
        ("ink", "paper"),
        [
            *((ink, paper) for ink in ("ink", "quiet", "accent") for paper in ("paper", "surface")),
            *((word, f"{word}-paper") for word in ("accent", "good", "warn", "bad")),
            *((word, paper) for word in ("bad", "warn", "good") for paper in ("paper", "surface")),
        ],
    )
    def test_words_stand_out(self, scheme: str, ink: str, paper: str) -> None:
        light, dark = self.STYLES.split("prefers-color-scheme: dark", 1)
        colours = dict(re.findall(r"--([\w-]+): (#\w+)", light))
        if scheme == "dark":
            colours |= dict(re.findall(r"--([\w-]+): (#\w+)", dark))

        assert contrast(colours[ink], colours[paper]) >= 4.5


def quiet(app: FastAPI) -> Any:
    """A facade of whose table there is nothing to tell."""
    qos = app.state.services.facade.get_qos_info()
    served = {name: info for name, info in qos.features.items() if not info.problem}

    class Quiet(Patchbay):
        def get_qos_info(self) -> Any:
            return qos.model_copy(update={"features": served, "retirements": ()})

    return Quiet(Table(environ=KEYS))


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


async def override_something(app: FastAPI, reason: str = "an outage") -> None:
    from backend.overrides import OverrideRequest

    overrides = app.state.services.overrides
    until = datetime.now(UTC) + timedelta(hours=2)
    for feature in ("conv_folder", "chat_agent"):
        await overrides.decide(OverrideRequest(feature, ("openai:gpt-6.1-terra",), "ann", reason, until))
    await overrides.put_in_force()
    await overrides.revert(overrides.infos()[0].id, "bob")
    await overrides.put_in_force()


def contrast(one: str, other: str) -> float:
    """As WCAG 2 reckons it."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * sign for sign in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
