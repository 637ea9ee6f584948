"""``python -m backend usage``, on a database with some rows."""

from __future__ import annotations

import asyncio
import csv
import json
import stat
import sys
from typing import TYPE_CHECKING, Any

import pytest
from pyarrow import parquet
from typer.testing import CliRunner, Result

from backend.cli import app
from backend.database.engine import open_and_migrate_sqlite
from backend.database.ledger import make_ledger_store
from backend.ledger.usage import format_dollars
from backend.settings import Settings
from backend.tests.fakes.records import DAY, NOON, record, spooled

if TYPE_CHECKING:
    from pathlib import Path

PERIOD = ("--since", "2026-11-01", "--until", "2026-11-29")
LONG = "openai:" + "a-model-with-a-long-name-" * 5
CALL = "0193a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5c"
ROWS = [
    record(),
    record(endpoint=LONG, cost=900_000_000_000, at=NOON - DAY),
    record(
        call=CALL, outcome="failed", category="timeout", cost=None, feature="[red]chat", user=None, input=None
    ),
]

OLD = record(call="00900000-0000-7000-8000-000000000000", at=7_500 * DAY)
"""Of 1990."""


@pytest.fixture(autouse=True, scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")

    async def fill() -> None:
        async with open_and_migrate_sqlite(Settings(data_dir=made).database_path) as engine:
            await make_ledger_store(engine).add(spooled([*ROWS, OLD]))

    asyncio.run(fill())
    return made


@pytest.fixture(autouse=True)
def settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHBAY_DATA_DIR", str(folder))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["usage", *arguments])


def told(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json").stdout)


def test_usage_alone_is_by_feature() -> None:
    found = told(*PERIOD)

    assert found["by"] == "feature"
    assert [(each["key"], each["attempts"]) for each in found["usage"]] == [
        ("conv_folder", 2),
        ("[red]chat", 1),
    ]
    assert found["total"]["cost_usd"] == "0.90045"
    assert found["total"]["unpriced"] == 1


def test_people_get_a_table_with_bars_and_a_total_whole_in_a_pipe() -> None:
    result = run("by", "model", *PERIOD)

    lines = result.stdout.splitlines()
    assert lines[1].startswith(LONG)
    assert lines[1].rstrip().endswith("█" * 20)
    assert lines[2].startswith("openai:gpt-6-luna ")
    assert lines[3].split()[:3] == ["total", "3", "3"]
    assert "1 attempts have no known price" in result.stderr


def test_a_name_is_no_markup() -> None:
    assert "[red]chat" in run("by", "feature", *PERIOD).stdout


def test_a_list_that_is_cut_says_so() -> None:
    result = run("by", "feature", *PERIOD, "--limit", "1")

    assert result.stdout.splitlines()[2].split()[:2] == ["total", "3"]
    assert "more than these 1" in result.stderr


def test_options_before_a_command_are_not_ignored_in_silence() -> None:
    assert run("--since", "7d", "by", "day").exit_code == 2


def test_days_that_nothing_happened_on_are_no_table() -> None:
    assert (
        run("--since", "2025-01-01", "--until", "2025-01-02").stdout
        == "Nothing from 2025-01-01 to 2025-01-02.\n"
    )


def test_what_is_not_kept_is_told() -> None:
    result = run("by", "user", "--feature", "chat", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["code"] == "usage_not_kept"


@pytest.mark.parametrize("since", ["yesterday", "2026-13-01", "2026-11-1", "0000-00-00"])
def test_what_is_no_day_is_refused(since: str) -> None:
    assert run("--since", since).exit_code == 2


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    assert run("--since", "2026-11-02", "--until", "2026-11-01").exit_code == 2


def test_requests_show_every_attempt() -> None:
    found = told("requests", "--outcome", "failed")

    assert [each["call"] for each in found] == [CALL]
    assert found[0]["attempts"][0]["category"] == "timeout"
    assert found[0]["attempts"][0]["cost_usd"] is None
    line = run("requests", CALL).stdout.splitlines()[1]
    assert line.split()[-5:] == ["840", "?", "->", "50", "?"]


def test_a_call_that_is_not_there_is_told() -> None:
    assert run("requests", "nothing").exit_code == 1


def test_csv_has_every_row_and_is_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"

    assert told("export", "--csv", str(path), *PERIOD) == {"rows": 3, "file": str(path)}

    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["endpoint"] for row in rows] == [each.endpoint for each in ROWS]
    assert [row["cost"] for row in rows] == ["450000000", "900000000000", ""]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    result = run("export", "--csv", str(tmp_path / "nowhere" / "rows.csv"))

    assert result.exit_code == 1
    assert "No such file" in result.stderr


def test_parquet_has_every_row_with_its_types(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"

    assert told("export", "--parquet", str(path), *PERIOD) == {"rows": 3, "file": str(path)}

    rows = parquet.read_table(path).to_pylist()
    assert [row["endpoint"] for row in rows] == [each.endpoint for each in ROWS]
    assert [row["cost"] for row in rows] == [450_000_000, 900_000_000_000, None]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_parquet_without_pyarrow_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    result = run("export", "--parquet", str(tmp_path / "rows.parquet"))

    assert result.exit_code == 1
    assert result.stderr == "Parquet needs the package pyarrow: pip install pyarrow\n"
    assert list(tmp_path.iterdir()) == []


def test_one_kind_of_file_is_asked_for() -> None:
    assert run("export").exit_code == 2


class TestCare:
    @pytest.fixture(autouse=True)
    def own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        """A copy, which may be changed."""
        (tmp_path / "patchbay.sqlite3").write_bytes((folder / "patchbay.sqlite3").read_bytes())
        monkeypatch.setenv("PATCHBAY_DATA_DIR", str(tmp_path))

    def test_costs_are_reckoned_anew(self, tmp_path: Path) -> None:
        prices = tmp_path / "prices.toml"
        prices.write_text('version = "2026-12"\n[prices."openai:gpt-6-luna"]\ninput = 1\noutput = 2\n')

        assert told("recompute", "--prices", str(prices), *PERIOD)["changed"] == 1

        assert told(*PERIOD)["total"]["cost_usd"] == format_dollars(900_000_000_000 + 1_100_000_000)

    def test_a_file_that_has_no_prices_is_told(self, tmp_path: Path) -> None:
        result = run("recompute", "--prices", str(tmp_path / "nothing.toml"), "--json")

        assert result.exit_code == 1
        assert json.loads(result.stdout)["error"]["code"] == "unusable_prices"

    def test_old_rows_are_pruned_and_their_sums_stay(self) -> None:
        old = ("--since", "1990-01-01", "--until", "1990-12-31")

        assert told("prune", "--older-than", "9999d")["rows"] == 1

        assert told("export", "--csv", "/dev/null", *old)["rows"] == 0
        assert told(*old)["total"]["attempts"] == 1
        assert told("export", "--csv", "/dev/null", *PERIOD)["rows"] == 3
