"""The commands for users' keys, tokens and browsers."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import async_sessionmaker

from backend.access import DataOwner
from backend.database.engine import open_and_migrate_sqlite
from backend.database.sessions import BrowserSessionStore
from backend.database.tokens import TokenStore
from backend.keys.master_keys import EnvironmentMasterKeys, MasterKeyFile
from backend.main import FIRST_USER

from .conftest import CANARY, run, told

if TYPE_CHECKING:
    from pathlib import Path

    from backend.settings import Settings
from backend.tests.fakes.applications import application


class TestKeys:
    def test_a_new_master_key_can_be_used_as_it_is_printed(self) -> None:
        printed = run("keys", "new").stdout.strip()

        assert EnvironmentMasterKeys(SecretStr(printed)).newest_key().name
        assert told("keys", "new")["master_key"] != printed

    def test_rotating_prints_what_was_done(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATCHBAY_DATA_DIR", str(tmp_path / "data"))

        done = told("keys", "rotate")

        assert (done["locked_anew"], done["unreadable"]) == (0, 0)
        assert MasterKeyFile(tmp_path / "data" / "master.keys").newest_key().name == done["master"]

    def test_an_unusable_database_is_reported_in_one_line_and_exits_1(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "data").touch()
        monkeypatch.setenv("PATCHBAY_DATA_DIR", str(tmp_path / "data"))

        result = run("keys", "rotate")

        assert result.exit_code == 1
        assert result.stderr.splitlines() == [
            f"The database {tmp_path}/data/patchbay.sqlite3 cannot be used: Not a directory."
        ]
        assert told("keys", "rotate")["error"]["code"] == "unusable_database"

    def test_malformed_master_keys_are_reported_and_not_repeated(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATCHBAY_DATA_DIR", str(tmp_path / "data"))
        monkeypatch.setenv("PATCHBAY_MASTER_KEYS", CANARY)

        result = run("keys", "rotate")

        assert result.exit_code == 1
        assert "keys new" in result.stderr
        assert CANARY not in result.output


class TestTokens:
    @pytest.fixture(autouse=True)
    def data(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("PATCHBAY_DATA_DIR", str(tmp_path / "data"))
        return tmp_path / "data"

    def test_the_token_alone_goes_to_standard_output(self) -> None:
        result = run("tokens", "make", "ci", "--user", "bob")

        assert re.fullmatch(r"pb_[A-Za-z0-9_-]{43}\n", result.stdout)
        assert result.stdout.strip() not in result.stderr
        assert "bob" in result.stderr

    def test_what_it_may_do_is_said_when_it_is_made_and_listed(self) -> None:
        chosen = ["--scope", "call", "--scope", "debug", "--tenant", "acme", "--rate", "60/minute"]

        told("tokens", "make", "ci", "--user", "bob", *chosen, "--budget", "5/month", "--expires", "30d")

        (listed,) = told("tokens", "list")["tokens"]
        assert (listed["scopes"], listed["tenant_id"]) == (["call", "debug"], "acme")
        assert (listed["rate"], listed["budget"]) == ("60/minute", {"usd": "5", "period": "month"})
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ", listed["expires_at"])
        assert "$5/month" in run("tokens", "list").stdout

    @pytest.mark.parametrize(
        "wrong",
        [
            ("--scope", "all"),
            ("--rate", "often"),
            ("--budget", "5"),
            ("--budget", "-1/day"),
            ("--expires", "soon"),
        ],
        ids=" ".join,
    )
    def test_what_cannot_be_given_is_refused_and_no_token_is_made(self, wrong: tuple[str, str]) -> None:
        assert run("tokens", "make", "ci", *wrong).exit_code == 2
        assert told("tokens", "list")["tokens"] == []

    def test_it_is_listed_without_the_secret(self) -> None:
        made = told("tokens", "make", "ci", "--user", "bob")

        (listed,) = told("tokens", "list")["tokens"]
        shown = run("tokens", "list").stdout

        assert {name: made[name] for name in ("id", "name", "user_id")} == {
            "id": listed["id"],
            "name": "ci",
            "user_id": "bob",
        }
        assert (listed["last_used_at"], listed["revoked_at"]) == (None, None)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ", listed["created_at"])
        assert made["id"][:8] in shown
        assert made["token"] not in shown + json.dumps(listed)

    @pytest.mark.parametrize("length", [32, 8, 4])
    def test_it_is_revoked_by_its_id_or_the_head_of_it_and_again_changes_nothing(self, length: int) -> None:
        made = told("tokens", "make", "ci")

        results = [run("tokens", "revoke", made["id"][:length]) for _ in range(2)]

        assert [result.exit_code for result in results] == [0, 0]
        assert told("tokens", "list")["tokens"][0]["revoked_at"] is not None

    @pytest.mark.parametrize("which", ["", "nobody", "%", "_"])
    def test_an_unknown_token_is_reported_and_exits_1(self, which: str) -> None:
        run("tokens", "make", "ci")

        assert run("tokens", "revoke", which).exit_code == 1
        assert told("tokens", "revoke", which)["error"]["code"] == "not_found"
        assert told("tokens", "list")["tokens"][0]["revoked_at"] is None

    def test_an_ambiguous_prefix_is_reported_and_revokes_no_token(self, data: Path) -> None:
        asyncio.run(make_tokens(data, 17))  # and there are 16 letters to begin with
        heads = Counter(one["id"][0] for one in told("tokens", "list")["tokens"])

        result = run("tokens", "revoke", heads.most_common(1)[0][0])

        assert result.exit_code == 1
        assert "More than one" in result.stderr
        assert {one["revoked_at"] for one in told("tokens", "list")["tokens"]} == {None}

    def test_a_token_that_is_given_in_place_of_its_id_is_not_repeated(self) -> None:
        made = told("tokens", "make", "ci")

        result = run("tokens", "revoke", made["token"])

        assert result.exit_code == 1
        assert made["token"] not in result.output

    def test_browsers_that_are_logged_in_are_listed_and_can_be_logged_out(self, data: Path) -> None:
        plain = asyncio.run(log_in(data))

        (listed,) = told("tokens", "list")["sessions"]
        shown = run("tokens", "list").stdout

        assert listed["user_id"] == "ann"
        assert listed["id"][:8] in shown
        assert plain not in shown + json.dumps(listed)
        assert run("tokens", "revoke", listed["id"][:8]).exit_code == 0
        assert told("tokens", "list")["sessions"] == []

    @pytest.mark.parametrize("name", ["", " ", "x" * 101, "a\x1b[2Jb", "two\nlines"])
    def test_a_name_that_a_terminal_would_not_print_is_refused(self, name: str) -> None:
        assert run("tokens", "make", name).exit_code == 2

    @pytest.mark.parametrize("verb", [("list",), ("make", "ci"), ("revoke", "1")])
    def test_an_unusable_database_is_reported_in_one_line(self, verb: tuple[str, ...], data: Path) -> None:
        data.touch()

        result = run("tokens", *verb)

        assert (result.exit_code, result.stdout) == (1, "")
        (line,) = result.stderr.splitlines()
        assert line.startswith("The database ")


async def make_tokens(data_dir: Path, count: int) -> None:
    async with open_and_migrate_sqlite(data_dir / "patchbay.sqlite3") as engine:
        for _ in range(count):
            await TokenStore(async_sessionmaker(engine)).create("ann", "ci")


async def log_in(data_dir: Path) -> str:
    """A session of Ann's."""
    async with open_and_migrate_sqlite(data_dir / "patchbay.sqlite3") as engine:
        return await BrowserSessionStore(async_sessionmaker(engine)).open_session("ann")


async def enrol(settings: Settings) -> None:
    """A key of the first user's."""
    app = application(settings)
    async with app.router.lifespan_context(app):
        await app.state.services.keychain.enrol_key(
            DataOwner(FIRST_USER), "openai", SecretStr(CANARY), overlap=timedelta(0)
        )
