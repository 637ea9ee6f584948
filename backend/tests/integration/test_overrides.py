"""Overrides by the command line and over HTTP, in several processes, and what of them is in the audit trail."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker

from backend.commands.terminal import ExitStatus
from backend.database.engine import open_and_migrate_sqlite
from backend.database.tokens import TokenStore
from backend.settings import Settings, read_environment
from backend.tests.fakes.applications import application, client_of
from backend.tests.fakes.commands import in_force, run, told
from backend.utils.llm import Caller, Patchbay, Table
from backend.utils.llm.caller import use_caller
from backend.utils.llm.testing import Status, Text
from backend.utils.llm.testing.patchbays import loopback_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx2
    from typer.testing import Result

    from backend.utils.llm.testing import LoopbackProvider

LUNA, SOL, FLASH = "openai:gpt-6-luna", "openai:gpt-6.1-sol", "gemini:gemini-3.5-flash-lite"
CANARY = "sk-canary-0123456789abcdef"
ADMIN = "pb_admin"
URL = "/v1/llm/overrides"
FOREVER = 30
"""Seconds that something of a second is waited for at most."""


@pytest.fixture(autouse=True)
def data(tmp_path: Path, provider: LoopbackProvider, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table and a folder for data, in force by the environment."""
    return in_force(loopback_table(provider, {"greet": [LUNA, FLASH], "part": LUNA}), tmp_path, monkeypatch)


def set_override(*arguments: str, reason: str = "an outage") -> Result:
    return run("override", "set", *arguments, "--until", "2h", "--reason", reason, "--author", "ann")


def serving(feature: str = "greet") -> list[str]:
    return [candidate["endpoint"] for candidate in told("explain", feature)["candidates"]]


class TestCommands:
    def test_what_is_set_is_listed_and_explained_until_it_is_reverted(self) -> None:
        assert set_override("greet", FLASH).exit_code == 0

        (listed,) = told("override", "list")["overrides"]
        shown = run("explain", "greet").stdout
        serves = serving()
        reverted = run("override", "revert", listed["id"], "--author", "bob")

        assert (listed["author"], listed["reason"], listed["state"]) == ("ann", "an outage", "in_force")
        assert f"override {listed['id']} by ann until" in shown
        assert (serves, serving()) == ([FLASH], [LUNA, FLASH])
        assert (reverted.exit_code, told("override", "list")["overrides"]) == (0, [])
        assert told("override", "list", "--past")["past"][0]["ended_by"] == "bob"

    def test_several_endpoints_serve_in_the_order_in_which_they_are_written(self) -> None:
        set_override("greet", SOL, LUNA)

        assert serving() == [SOL, LUNA]

    def test_who_disables_an_endpoint_is_told_whom_nobody_serves_any_more(self) -> None:
        result = run("override", "disable", LUNA, "--until", "30m", "--reason", "it leaks", "--author", "ann")

        skipped = told("explain", "greet")["skipped"]
        assert "Nobody serves any more: part." in result.stderr
        assert [(one["endpoint"], one["code"]) for one in skipped] == [(LUNA, "disabled")]
        assert "(disabled)" in run("override", "list").stdout

    def test_what_does_not_fit_is_refused_with_the_nearest_and_exits_1(self) -> None:
        result = set_override("gret", FLASH)

        assert result.exit_code == 1
        assert "Did you mean 'greet'?" in result.stderr
        assert told("override", "list")["overrides"] == []

    def test_as_json_the_problems_are_a_list(self) -> None:
        error = told("override", "set", "greet", "opnai:x", "--until", "2h", "--reason", "r")["error"]

        assert (error["code"], len(error["problems"])) == ("invalid_override", 1)

    @pytest.mark.parametrize("until", ["soon", "2026-12-01T18:00", "2y"])
    def test_a_moment_is_a_duration_or_has_an_offset(self, until: str) -> None:
        assert run("override", "set", "greet", FLASH, "--until", until, "--reason", "r").exit_code == 2

    def test_an_unknown_id_is_reported_and_exits_1(self) -> None:
        assert run("override", "revert", "nobody").exit_code == 1
        assert told("override", "revert", "nobody")["error"]["code"] == "override_not_found"

    def test_a_database_that_cannot_be_read_keeps_nobody_from_explain(self, data: Path) -> None:
        data.mkdir()
        (data / "patchbay.sqlite3").write_bytes(b"no database at all" * 100)

        result = run("explain", "greet")

        assert (result.exit_code, serving()) == (0, [LUNA, FLASH])
        assert "Stored overrides are not shown" in result.stderr


class TestAudit:
    def test_each_decision_is_listed_with_who_made_it(self) -> None:
        set_override("greet", FLASH)
        run("tokens", "make", "ci", "--user", "bob")

        entries = told("audit", "list")

        assert [(entry["kind"], entry["subject"]) for entry in entries if entry["kind"] != "token.made"] == [
            ("override.set", "greet")
        ]
        assert next(entry for entry in entries if entry["kind"] == "token.made")["details"]["user"] == "bob"
        assert "override.set" in run("audit", "list", "--kind", "override").stdout
        assert told("audit", "list", "--kind", "token")[0]["kind"] == "token.made"

    def test_each_command_is_signed_for(self) -> None:
        set_override("greet", FLASH)
        run("tokens", "make", "ci")

        report = told("audit", "verify")

        assert (report["ok"], report["entries"], report["heads"], report["breaks"]) == (True, 2, 2, [])
        assert run("audit", "verify", "--expect", report["last_head"]["hash"]).exit_code == 0
        assert run("audit", "verify", "--expect", "0" * 64).exit_code == ExitStatus.BROKEN

    def test_a_broken_link_is_named_and_exits_3(self, data: Path) -> None:
        set_override("greet", FLASH)
        with sqlite3.connect(data / "patchbay.sqlite3") as connection:
            connection.execute("DROP TRIGGER audit_entries_no_update")
            connection.execute("UPDATE audit_entries SET actor = 'eve'")
        connection.close()

        result = run("audit", "verify")

        assert result.exit_code == ExitStatus.BROKEN
        assert result.stderr.startswith("changed: entry 1 of ")
        assert "(override.set greet)" in result.stderr

    def test_without_the_master_key_nobody_can_tell_and_it_exits_4(self, data: Path) -> None:
        set_override("greet", FLASH)
        (data / "master.keys").unlink()

        assert run("audit", "verify").exit_code == ExitStatus.UNVERIFIED
        assert told("audit", "verify")["unverified_heads"] == 1

    def test_a_rotation_of_the_master_key_leaves_the_trail_whole(self) -> None:
        set_override("greet", FLASH)
        for _ in range(3):
            run("keys", "rotate")

        report = told("audit", "verify")

        assert (report["ok"], report["heads"]) == (True, 4)
        assert told("audit", "list", "--kind", "master_key")[0]["kind"] == "master_key.rotated"

    def test_no_key_is_taken_for_a_reason(self, data: Path) -> None:
        result = set_override("greet", FLASH, reason=f"it leaked {CANARY}")

        assert result.exit_code == 1
        assert CANARY not in result.output
        assert all(CANARY.encode() not in file.read_bytes() for file in data.iterdir())


@asynccontextmanager
async def server(data: Path) -> AsyncIterator[tuple[httpx2.AsyncClient, Patchbay]]:
    """An application as in a process of its own."""
    patchbay = Patchbay(Table(environ=read_environment()), require_caller=True)
    app = application(Settings(_env_file=None, data_dir=data), patchbay=patchbay, launch_token=ADMIN)
    async with app.router.lifespan_context(app), client_of(app, ADMIN, raises=False) as client:
        yield client, patchbay
    await patchbay.aclose()


def wanted(**changes: Any) -> dict[str, Any]:
    until = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    return {"feature": "greet", "links": [FLASH], "reason": "an outage", "until": until} | changes


async def explained(client: httpx2.AsyncClient) -> list[str]:
    route = (await client.get("/v1/llm/explain/greet")).json()
    return [candidate["endpoint"] for candidate in route["candidates"]]


class TestHttp:
    async def test_what_one_process_stores_is_in_force_there_at_once_and_in_the_others_soon(
        self, data: Path
    ) -> None:
        async with server(data) as (here, _), server(data) as (there, patchbay):
            made = await here.post(URL, json=wanted())
            at_once = await explained(here)
            await _until(lambda: bool(patchbay.table.snapshot.overrides))
            soon = await explained(there)
            ended = await there.delete(f"{URL}/{made.json()['override']['id']}")

            assert (made.status_code, made.json()["override"]["author"]) == (201, "admin")
            assert (at_once, soon, ended.status_code) == ([FLASH], [FLASH], 204)
            assert await explained(there) == [LUNA, FLASH]

    async def test_a_server_that_starts_later_has_it_in_force(self, data: Path) -> None:
        async with server(data) as (client, _):
            await client.post(URL, json=wanted())
        async with server(data) as (client, _):
            listed = (await client.get(URL)).json()["overrides"]
            qos = (await client.get("/v1/llm/qos")).json()

        assert [one["state"] for one in listed] == ["in_force"]
        assert (qos["overrides"], qos["features"]["greet"]["endpoint"]) == (listed, FLASH)

    @pytest.mark.parametrize("tenant", ["", "acme"])
    async def test_who_may_not_see_overrides_is_nowhere_told_who_decided_and_why(
        self, data: Path, tenant: str
    ) -> None:
        asked = {"model": "greet", "messages": [{"role": "user", "content": "hi"}]}
        async with server(data) as (client, _):
            disabled = {
                name: one for name, one in wanted(disable=FLASH).items() if name not in {"feature", "links"}
            }
            for decided in (wanted(), disabled):
                assert (await client.post(URL, json=decided)).status_code == 201
            made = await client.post("/v1/tokens", json={"name": "n", "user_id": "bob", "tenant_id": tenant})
            bob = {"authorization": f"Bearer {made.json()['token']}"}
            told = await client.get("/v1/llm/explain/greet", headers=bob)
            others = [
                await client.get("/v1/llm/qos", headers=bob),
                await client.post("/v1/chat/completions", json=asked, headers=bob),
                await client.post("/v1/responses", json={"model": "greet", "input": "hi"}, headers=bob),
                await client.post("/v1/messages", json={**asked, "max_tokens": 9}, headers=bob),
            ]
            admins = (await client.get("/v1/llm/explain/greet")).json()

        assert [other.status_code for other in others] == [403, 422, 422, 422]
        assert told.json()["skipped"][0]["code"] == "disabled"
        assert not [
            response.text
            for response in (told, *others)
            if "an outage" in response.text or "author" in response.text
        ]
        assert (admins["override"]["reason"], admins["disabled"][0]["author"]) == ("an outage", "admin")

    async def test_only_admins_may(self, data: Path) -> None:
        async with server(data) as (client, _):
            async with open_and_migrate_sqlite(data / "patchbay.sqlite3") as engine:
                token = await TokenStore(async_sessionmaker(engine)).create("bob", "test")
            bob = {"authorization": f"Bearer {token}"}

            answers = [
                await client.get(URL, headers=bob),
                await client.post(URL, headers=bob, json=wanted()),
                await client.delete(f"{URL}/x", headers=bob),
            ]

        assert [answer.status_code for answer in answers] == [403, 403, 403]

    async def test_what_does_not_fit_is_refused_with_every_problem(self, data: Path) -> None:
        async with server(data) as (client, _):
            refused = await client.post(URL, json=wanted(feature="gret"))
            odd = [
                await client.post(URL, json=wanted(disable=LUNA)),
                await client.post(URL, json=wanted(links=[])),
                await client.post(URL, json=wanted(until="2026-12-01T18:00:00")),
            ]
            unknown = await client.delete(f"{URL}/nobody")

        assert refused.status_code == 422
        assert "Did you mean 'greet'?" in refused.json()["error"]["problems"][0]
        assert [answer.status_code for answer in odd] == [422, 422, 422]
        assert unknown.status_code == 404

    async def test_what_is_decided_over_http_is_in_the_trail(self, data: Path) -> None:
        async with server(data) as (client, _):
            await client.post(URL, json=wanted(feature=None, links=[], disable=LUNA))
            await client.put("/v1/keys/openai", json={"key": CANARY})
            await client.delete("/v1/keys/openai")

        entries = await asyncio.to_thread(told, "audit", "list")
        assert [(entry["kind"], entry["actor"]) for entry in reversed(entries)] == [
            ("token.made", "system"),
            ("override.set", "admin"),
            ("key.added", "admin"),
            ("key.revoked", "admin"),
        ]
        assert CANARY not in json.dumps(entries)
        assert (await asyncio.to_thread(told, "audit", "verify"))["breaks"] == []


async def test_every_attempt_of_a_server_is_in_the_trail(data: Path, provider: LoopbackProvider) -> None:
    provider.script(Status(503), Text("Hello."))
    app = application(Settings(_env_file=None, data_dir=data))
    async with app.router.lifespan_context(app):
        with use_caller(Caller(user_id="ann")):
            await app.state.services.facade.get_llm("greet").ainvoke("Hello?")

    report = await asyncio.to_thread(told, "audit", "verify")
    with sqlite3.connect(data / "patchbay.sqlite3") as connection:
        connection.execute("UPDATE ledger_attempts SET output = 1 WHERE outcome = 'ok'")
    connection.close()
    tampered = await asyncio.to_thread(run, "audit", "verify")

    assert (report["ok"], report["attempts"]) == (True, 2)
    assert (tampered.exit_code, tampered.stderr.split(":")[0]) == (ExitStatus.BROKEN, "changed")


async def _until(condition: Any) -> None:
    async with asyncio.timeout(FOREVER):
        while not condition():  # noqa: ASYNC110 - it is another application that changes it
            await asyncio.sleep(0.02)
