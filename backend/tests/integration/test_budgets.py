"""Budgets by the command line and over HTTP: one counter for what is shown, and what is refused."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker

from backend.database.budgets import make_budget_store
from backend.database.engine import open_and_migrate_sqlite
from backend.database.tokens import TokenStore
from backend.settings import Settings
from backend.tests.fakes.applications import application, client_of
from backend.tests.fakes.commands import in_force, run, told
from backend.utils.llm import Caller
from backend.utils.llm.errors import BudgetExceededError
from backend.utils.llm.testing import Text, Usage
from backend.utils.llm.testing.patchbays import loopback_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx2
    from fastapi import FastAPI

    from backend.utils.llm.testing import LoopbackProvider

ADMIN = "pb_admin"
ROWS = """
[features.greet]
options = { max_output_tokens = 40 }
[budgets.users]
per = "user"
tokens = 100
period = "month"
[budgets.house]
per = "owner"
usd = 2.5
period = "total"
"""


@pytest.fixture(autouse=True)
def data(tmp_path: Path, provider: LoopbackProvider, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table and a folder for data, in force by the environment."""
    return in_force(loopback_table(provider, {"greet": "openai:gpt-6-luna"}, ROWS), tmp_path, monkeypatch)


@asynccontextmanager
async def server(data: Path) -> AsyncIterator[tuple[httpx2.AsyncClient, FastAPI]]:
    """An application as in a process of its own."""
    app = application(Settings(_env_file=None, data_dir=data), launch_token=ADMIN)
    async with app.router.lifespan_context(app), client_of(app, ADMIN, raises=False) as client:
        yield client, app


async def spend(app: FastAPI, provider: LoopbackProvider, user: str, tokens: int) -> None:
    provider.script(Text("ok", usage=Usage(input_tokens=0, output_tokens=tokens)))
    model = app.state.services.facade.get_llm("greet", caller=Caller(user_id=user))
    await model.ainvoke("hi")


class TestCommands:
    def test_what_a_call_used_is_listed_shown_and_explained(self, provider: LoopbackProvider) -> None:
        provider.script(Text("ok", usage=Usage(input_tokens=10, output_tokens=20)))
        assert run("call", "greet", "hi").exit_code == 0

        (listed,) = told("budget", "list")["budgets"]

        assert (listed["budget"], listed["subject"], listed["cap"]) == ("house", "house", "2.5")
        assert float(listed["spent"]) > 0
        assert told("budget", "show", "house", "house") == listed
        assert told("explain", "greet")["budgets"] == [listed]
        assert "house" in run("budget", "list").stdout
        assert run("budget", "show", "house", "house").stdout.startswith(
            "budget house of the owner house: $2.4999"
        )

    def test_who_is_of_a_tenant_is_addressed_with_it(self) -> None:
        raised = told("budget", "raise", "users", "acme::ann", "50")

        assert told("explain", "greet", "--user", "ann", "--tenant", "acme")["budgets"][0] == raised
        assert told("explain", "greet", "--user", "ann")["budgets"][0]["cap"] == 100

    def test_who_was_given_more_may_spend_it(self) -> None:
        raised = told("budget", "raise", "users", "ann", "50", "--author", "eve")

        assert (raised["cap"], raised["left"]) == (150, 150)
        assert told("budget", "show", "users", "ann") == raised
        assert "150 tokens left of 150" in run("explain", "greet", "--user", "ann").stdout

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["show", "usres", "ann"], "There is no budget 'usres'. Did you mean 'users' or 'house'?"),
            (["show", "house", "hause"], "There is no owner 'hause'. Did you mean 'house' or 'user'?"),
            (["raise", "users", "ann", "2.5"], "'2.5' is no amount. Write tokens"),
            (["raise", "house", "house", "much"], "'much' is no amount. Write dollars"),
            (["raise", "house", "house", "nan"], "'nan' is no amount."),
            (["raise", "house", "house", "1e30"], "'1e30' is no amount."),
        ],
    )
    def test_what_does_not_fit_is_told_with_the_nearest_and_exits_1(
        self, arguments: list[str], told: str
    ) -> None:
        result = run("budget", *arguments)

        assert result.exit_code == 1
        assert told in result.stderr

    def test_what_was_decided_is_in_the_audit_trail(self) -> None:
        run("budget", "raise", "house", "house", "7.5", "--author", "eve")
        run("budget", "reset", "users", "ann", "--author", "bob")

        reset, raised = told("audit", "list")

        assert (raised["kind"], raised["subject"], raised["actor"]) == ("budget.raised", "house", "eve")
        assert (reset["kind"], reset["subject"], reset["actor"]) == ("budget.reset", "users", "bob")
        assert told("audit", "verify")["ok"]


class TestHttp:
    async def test_a_user_sees_their_own_and_an_admin_all(
        self, data: Path, provider: LoopbackProvider
    ) -> None:
        async with server(data) as (client, app):
            await spend(app, provider, "bob", 30)
            await spend(app, provider, "admin", 10)
            async with open_and_migrate_sqlite(data / "patchbay.sqlite3") as engine:
                token = await TokenStore(async_sessionmaker(engine)).create("bob", "test")
            bob = {"authorization": f"Bearer {token}"}

            everybodys = (await client.get("/v1/budgets")).json()["budgets"]
            own = (await client.get("/v1/users/me/budgets", headers=bob)).json()["budgets"]
            theirs = (await client.get("/v1/llm/explain/greet", headers=bob)).json()["budgets"]
            admins = (await client.get("/v1/llm/explain/greet")).json()["budgets"]
            refused = [
                await client.get("/v1/budgets", headers=bob),
                await client.post(
                    "/v1/budgets/users/raise", headers=bob, json={"subject": "bob", "amount": "9"}
                ),
                await client.post("/v1/budgets/users/reset", headers=bob, json={"subject": "bob"}),
            ]

        assert [(one["subject"], one["spent"]) for one in everybodys[:2]] == [("bob", 30), ("admin", 10)]
        assert [(one["subject"], one["left"]) for one in own] == [("bob", 70)]
        assert theirs == own
        assert {admin["per"] for admin in admins} == {"user", "owner"}
        assert [answer.status_code for answer in refused] == [403, 403, 403]

    async def test_a_tenant_spends_nothing_of_a_user_of_the_same_name_in_another(
        self, data: Path, provider: LoopbackProvider
    ) -> None:
        asked = {"model": "greet", "messages": [{"role": "user", "content": "hi"}]}
        async with server(data) as (client, _):
            made = {
                tenant: await client.post(
                    "/v1/tokens", json={"name": "n", "user_id": "ann", "tenant_id": tenant}
                )
                for tenant in ("acme", "globex")
            }
            acme, globex = (
                {"authorization": f"Bearer {response.json()['token']}"} for response in made.values()
            )
            provider.script(Text("ok", usage=Usage(input_tokens=0, output_tokens=90)))
            answers = [
                await client.post("/v1/chat/completions", json=asked, headers=who)
                for who in (acme, acme, globex)
            ]
            own = (await client.get("/v1/users/me/budgets", headers=acme)).json()["budgets"]
            told_there = (await client.get("/v1/llm/explain/greet", headers=acme)).json()["budgets"]

        assert [answer.status_code for answer in answers] == [200, 402, 200]
        assert [(one["subject"], one["spent"]) for one in own] == [("acme::ann", 90)]
        assert told_there == own

    async def test_who_has_nothing_left_is_refused_in_every_process_until_they_are_given_more(
        self, data: Path, provider: LoopbackProvider
    ) -> None:
        async with server(data) as (here, first), server(data) as (_, second):
            await spend(first, provider, "bob", 35)
            await spend(first, provider, "bob", 35)
            with pytest.raises(BudgetExceededError):
                await spend(second, provider, "bob", 1)

            raised = await here.post("/v1/budgets/users/raise", json={"subject": "bob", "amount": "20"})
            await spend(second, provider, "bob", 1)
            unknown = await here.post("/v1/budgets/usres/reset", json={"subject": "bob"})
            reset = await here.post("/v1/budgets/users/reset", json={"subject": "bob"})

        assert (raised.status_code, raised.json()["left"]) == (200, 50)
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "unknown_budget")
        assert (reset.status_code, reset.json()["spent"]) == (200, 0)

    async def test_what_is_under_way_when_a_server_stops_is_settled(
        self, data: Path, provider: LoopbackProvider
    ) -> None:
        async with server(data) as (_, app):
            await spend(app, provider, "bob", 30)
        with closing(make_budget_store(data / "patchbay.sqlite3", None)) as counters:
            known = await asyncio.to_thread(counters.known)

        assert sorted((window.budget, window.subject, said.reserved) for window, said in known.items()) == [
            ("house", "house", 0),
            ("users", "bob", 0),
        ]
