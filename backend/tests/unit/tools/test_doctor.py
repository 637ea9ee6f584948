"""The doctor finds what keeps Patchbay from running, says what to do, and changes and tells nothing."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from backend.database.condition import read_database_status
from backend.database.engine import open_and_migrate_sqlite
from backend.database.migrations import list_revisions
from backend.settings import Settings
from backend.tools import doctor
from backend.tools.doctor import CheckResult
from backend.utils.llm import Table
from backend.utils.llm.testing import LoopbackProvider
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_table

if TYPE_CHECKING:
    from pathlib import Path

    from backend.tests.fakes.postgres import Postgres

NOW = datetime(2026, 11, 29, tzinfo=UTC)
CANARY = "sk-canary-0d0c"


def settings(folder: Path) -> Settings:
    return Settings(data_dir=folder / "data", port=0, local_llm_gguf=folder / "none.gguf")


@pytest.mark.parametrize(
    ("running", "state"), [((3, 10), "fault"), ((3, 11), "ok"), ((3, 14), "ok"), ((3, 15), "warning")]
)
def test_a_python_that_the_lock_is_not_for(running: tuple[int, int], state: str) -> None:
    assert doctor.check_python_version(running).state == state


class TestPackages:
    def test_these_are_as_the_lock_has_them(self) -> None:
        assert doctor.check_packages() == CheckResult("packages", "ok", doctor.check_packages().says)

    def test_another_release_is_named(self) -> None:
        found = doctor.check_packages(lambda name: "0.1" if name == "typer" else version(name))

        assert (found.state, found.says.rpartition(": ")[2]) == ("fault", "typer 0.1")

    def test_a_missing_one_is_named(self) -> None:
        def installed(name: str) -> str:
            if name == "typer":
                raise PackageNotFoundError
            return version(name)

        assert "typer is missing" in doctor.check_packages(installed).says

    def test_not_all_are_named(self) -> None:
        assert doctor.check_packages(lambda _: "0.1").says.count(",") == 4


class TestTable:
    def test_one_that_does_not_load_has_its_first_problem_told(self, tmp_path: Path) -> None:
        (found,) = doctor.check_feature_table({"LLM_CONFIG": str(tmp_path / "none.toml")})

        assert (found.state, "none.toml" in found.says) == ("fault", True)

    def test_keys_are_told_by_name_and_never_by_value(self, tmp_path: Path) -> None:
        with LoopbackProvider() as provider:
            (tmp_path / "llm.toml").write_text(loopback_table(provider, {"greet": "openai:gpt-6-luna"}))
        environ = {"LLM_CONFIG": str(tmp_path / "llm.toml"), "LOOPBACK_OPENAI_KEY": CANARY}

        found = list(doctor.check_feature_table(environ))

        assert [check.state for check in found] == ["ok", "ok"]
        assert found[1].says == "LOOPBACK_OPENAI_KEY; not set: LOOPBACK_GEMINI_KEY, LOOPBACK_ANTHROPIC_KEY"
        assert CANARY not in str(found)

    def test_without_any_key_it_says_which_could_be_set(self) -> None:
        with LoopbackProvider() as provider:
            table = Table(text=loopback_table(provider, {"greet": "openai:gpt-6-luna"}), environ={})

        found = doctor.check_house_keys(table.snapshot)

        assert (found.state, found.says) == ("warning", "none is set: nothing serves")
        assert all(name in found.advice for name in HOUSE_KEYS)


class TestDatabase:
    def test_one_that_is_not_there_is_not_made(self, tmp_path: Path) -> None:
        found = asyncio.run(read_database_status(settings(tmp_path)))

        assert (found.exists, found.fault, found.revision) == (False, None, None)
        assert list(tmp_path.iterdir()) == []

    async def test_one_that_is_there_has_the_newest_tables(self, tmp_path: Path) -> None:
        async with open_and_migrate_sqlite(settings(tmp_path).database_path):
            found = await read_database_status(settings(tmp_path))

        assert doctor.check_migrations(found.revision, list_revisions()).state == "ok"

    async def test_one_that_is_none_is_a_fault(self, tmp_path: Path) -> None:
        path = settings(tmp_path).database_path
        path.parent.mkdir()
        path.write_text("no database, whatever its name")

        found = await read_database_status(settings(tmp_path))

        assert doctor.check_database(found.fault, location=found.place, exists=found.exists).state == "fault"

    async def test_one_without_tables_is_as_one_that_is_not_there(self, tmp_path: Path) -> None:
        path = settings(tmp_path).database_path
        path.parent.mkdir()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE something (id INTEGER)")

        found = await read_database_status(settings(tmp_path))

        assert (found.fault, found.revision) == (None, None)

    async def test_postgresql_tells_its_clock_and_its_tables(self, postgres: Postgres) -> None:
        with postgres.database() as url:
            found = await read_database_status(Settings(database_url=SecretStr(url)))

        assert (found.fault, found.revision) == (None, list_revisions()[0])
        assert found.now is not None

    async def test_a_postgresql_that_is_away_is_a_fault_that_tells_no_password(self) -> None:
        found = await read_database_status(
            Settings(database_url=SecretStr(f"postgresql://u:{CANARY}@127.0.0.1:1/x"))
        )

        assert found.fault is not None
        assert CANARY not in str(found)


@pytest.mark.parametrize(
    ("revision", "state"), [("new", "ok"), ("old", "warning"), ("unheard of", "fault"), (None, "ok")]
)
def test_the_migrations_of_another_version(revision: str | None, state: str) -> None:
    assert doctor.check_migrations(revision, ["new", "old"]).state == state


class TestPort:
    def test_one_that_is_free(self) -> None:
        assert doctor.check_port("127.0.0.1", 0).state == "ok"

    def test_one_that_something_else_has(self) -> None:
        with LoopbackProvider() as provider:
            number = int(provider.origin.rpartition(":")[2])

            found = doctor.check_port("127.0.0.1", number)

        assert (found.state, "PATCHBAY_PORT" in found.advice) == ("fault", True)

    def test_a_host_that_is_none(self) -> None:
        assert doctor.check_port("192.0.2.1", 0).state == "fault"


def test_a_disk_without_room(tmp_path: Path) -> None:
    assert doctor.check_disk_space(tmp_path / "not" / "there", 0).state == "ok"
    assert doctor.check_disk_space(tmp_path, 2**80).state == "warning"


@pytest.mark.parametrize(
    ("now", "elsewhere", "state"),
    [
        (NOW, None, "ok"),
        (NOW, NOW + timedelta(seconds=1), "ok"),
        (NOW, NOW - timedelta(minutes=1), "warning"),
        (datetime(1970, 1, 1, tzinfo=UTC), None, "fault"),
    ],
)
def test_a_clock_that_is_wrong(now: datetime, elsewhere: datetime | None, state: str) -> None:
    assert doctor.check_clock(now, elsewhere).state == state


def test_a_model_file_that_is_not_there(tmp_path: Path) -> None:
    found = doctor.check_demo_model(tmp_path / "none.gguf")

    assert (found.state, "LOCAL_LLM_GGUF" in found.says) == ("warning", True)


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for data that is not there, and no table."""
    monkeypatch.setenv("PATCHBAY_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PATCHBAY_PORT", "0")
    monkeypatch.setenv("LOCAL_LLM_GGUF", str(tmp_path / "none.gguf"))
    monkeypatch.setenv("LLM_CONFIG", str(tmp_path / "none.toml"))
    return tmp_path


def test_whatever_is_not_well_comes_with_advice(away: Path) -> None:
    found = list(doctor.run_checks(NOW))

    assert len({check.name for check in found}) == len(found) == 9
    assert all(check.advice for check in found if check.state != "ok")
    assert list(away.iterdir()) == []


@pytest.mark.usefixtures("away")
def test_settings_that_cannot_be_understood_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHBAY_PORT", CANARY)

    found = list(doctor.run_checks(NOW))[-1]

    assert (found.name, found.state) == ("settings", "fault")
    assert found.says.startswith("PATCHBAY_PORT: ")
    assert CANARY not in str(found)


@pytest.mark.parametrize("package", ["sqlalchemy", "pydantic_settings"])
def test_a_package_that_cannot_be_imported_is_a_fault_and_no_crash(package: str) -> None:
    program = (
        f"import sys; sys.modules[{package!r}] = None; from backend.cli import app; app(['doctor', '--json'])"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)  # noqa: S603 - ours

    assert (done.returncode, done.stderr) == (1, "")
    last = json.loads(done.stdout)["checks"][-1]
    assert (last["name"], last["state"]) == ("imports", "fault")
    assert package in last["says"]
