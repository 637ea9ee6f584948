"""The commands that read the table, or that only ask: features, explain, check, model, call and doctor."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from backend.cli import app
from backend.commands.terminal import ExitStatus
from backend.utils.llm.model_config import load_table
from backend.utils.llm.models.sources import DECLARED, OPENAI_PROFILE
from backend.utils.llm.testing import Hang, Status, Text
from backend.utils.llm.testing.patchbays import HOUSE_KEYS, loopback_table

from .conftest import CANARY, FEATURES, run, told

if TYPE_CHECKING:
    from pathlib import Path

    from backend.utils.llm.testing import LoopbackProvider


class TestFeatures:
    def test_every_feature_is_listed_with_what_it_runs_on(self) -> None:
        output = run("features").stdout

        assert all(feature in output for feature in FEATURES)
        assert "openai:gpt-6-luna" in output

    def test_as_json_it_is_the_qos_document(self) -> None:
        assert sorted(told("features")["features"]) == FEATURES


class TestExplain:
    def test_explain_shows_where_a_call_would_run_and_sends_nothing(self, provider: LoopbackProvider) -> None:
        assert "1. openai:gpt-6-luna  house's key" in run("explain", "conv_folder").stdout
        assert provider.requests == ()

    def test_a_call_that_nothing_can_serve_exits_with_1(self) -> None:
        served, unserved = run("explain", "conv_folder"), run("explain", "conv_folder", "--byok", "nobody")

        assert (served.exit_code, unserved.exit_code) == (0, 1)
        assert "✗" in unserved.stdout

    def test_explain_shows_what_a_call_would_cost_and_what_would_follow_a_failure(self) -> None:
        output = run("explain", "conv_folder", "--tokens", "1000", "--failures").stdout
        first = told("explain", "conv_folder", "--tokens", "1000")["candidates"][0]

        assert f"${first['estimate']['prompt_usd']} to $" in output
        assert "the call ends" in output
        assert first["on_failure"]["server"] == {"requests": 3, "then": "the next endpoint"}

    def test_it_answers_for_a_caller_with_a_key(self) -> None:
        route = told("explain", "conv_folder", "--byok", "openai")

        assert [candidate["key_owner"] for candidate in route["candidates"]] == ["user"]

    def test_an_unknown_feature_names_the_nearest(self) -> None:
        result = run("explain", "conv_foldr")

        assert result.exit_code == 1
        assert "'conv_folder'" in result.stderr

    def test_as_json_the_error_is_json_too(self) -> None:
        assert told("explain", "conv_foldr")["error"]["code"] == "unknown_feature"


class TestCheck:
    def test_a_good_table_is_reported_with_its_hash(self, table: Path) -> None:
        result = run("check")

        assert result.exit_code == 0
        assert load_table(table, environ={"LOOPBACK_OPENAI_KEY": "another"}).hash in result.stdout

    def test_a_bad_table_is_reported_whole_and_exits_1(self, table: Path) -> None:
        table.write_text(
            table.read_text() + '\n[features.conv_folder]\noptions = { efort = "low" }\n[features.nobody]'
        )

        result = run("check", str(table))

        assert result.exit_code == 1
        assert "features.conv_folder.options.efort" in result.stderr
        assert "features.nobody" in result.stderr
        assert len(told("check", str(table))["problems"]) == 2

    def test_a_missing_table_is_reported(self, tmp_path: Path) -> None:
        assert run("check", str(tmp_path / "none.toml")).exit_code == 1

    def test_warnings_are_printed_and_check_exits_0(self) -> None:
        result = run("check")

        assert result.exit_code == 0
        assert "warning  conv_folder (byok, premium): only openai serves it.\n" in result.stdout
        assert "5 features, 5 warnings. Hash" in result.stdout

    def test_strict_makes_problems_of_them_and_exits_1(self) -> None:
        result = run("check", "--strict")

        assert result.exit_code == 1
        assert result.stdout.count("problem  ") == 5
        assert "5 features, 5 problems. Hash" in result.stdout

    def test_as_json_each_finding_says_whether_it_fails(self) -> None:
        document = told("check")

        assert (document["ok"], document["features"]) == (True, 5)
        assert {finding["kind"] for finding in document["findings"]} == {"one_provider"}
        assert [finding["fails"] for finding in document["findings"]] == [False] * 5


class TestCheckRetirement:
    """``--fail-within`` in a build: gpt-4o goes off sale on 2027-01-14."""

    @pytest.fixture(autouse=True)
    def old(self, table: Path, provider: LoopbackProvider) -> None:
        chains = {"conv_folder": ["openai:gpt-4o", "gemini:gemini-3.5-flash-lite"]}
        table.write_text(loopback_table(provider, chains))

    @pytest.mark.parametrize(
        ("today", "within", "status"),
        [
            ("2026-12-15", "30d", 1),
            ("2026-12-14", "30d", 0),
            ("2026-12-31", "2w", 1),
            ("2026-12-30", "2w", 0),
            ("2027-01-13", "12h", 1),
            ("2027-01-12", "12h", 0),
            ("2027-02-01", "0d", 1),
        ],
    )
    def test_it_fails_within_the_time_and_once_it_has_passed(
        self, today: str, within: str, status: int
    ) -> None:
        assert run("check", "--fail-within", within, "--today", today).exit_code == status

    def test_one_line_names_feature_profiles_day_days_left_and_heir(self) -> None:
        result = run("check", "--fail-within", "30d", "--today", "2027-01-01")

        assert result.stdout.splitlines()[0] == (
            "problem  openai:gpt-4o goes off sale on 2027-01-14, in 13 days: conv_folder (byok, premium). "
            "Its vendor names gpt-6-luna instead."
        )

    def test_further_off_than_that_it_is_a_warning_even_if_strict(self) -> None:
        result = run("check", "--strict", "--fail-within", "30d", "--today", "2026-11-21")

        assert result.exit_code == 0
        assert result.stdout.startswith("warning  openai:gpt-4o")

    def test_a_retirement_beyond_90_days_is_listed_only_if_asked_for(self) -> None:
        assert "gpt-4o" not in run("check", "--today", "2026-10-15").stdout
        assert "gpt-4o" in run("check", "--today", "2026-10-15", "--fail-within", "20w").stdout

    def test_as_json_it_is_data(self) -> None:
        finding = told("check", "--fail-within", "30d", "--today", "2027-01-01")["findings"][0]

        assert finding["fails"]
        assert finding["retires"] == {
            "endpoint": "openai:gpt-4o",
            "day": "2027-01-14",
            "days": 13,
            "replacement": "gpt-6-luna",
        }

    @pytest.mark.parametrize("text", ["30", "d", "1y", "-1d", "1.5d", ""])
    def test_what_is_no_time_exits_2(self, text: str) -> None:
        assert run("check", f"--fail-within={text}").exit_code == 2

    def test_features_lists_retirements_too(self) -> None:
        assert "First openai:gpt-4o on 2027-01-14" in run("features").stdout


class TestTypes:
    def test_the_names_of_the_features_are_a_type_and_a_check_tells_when_they_have_changed(
        self, table: Path, tmp_path: Path
    ) -> None:
        module = tmp_path / "features.py"

        assert run("types", str(module)).exit_code == 0
        assert module.read_text() == run("types").output
        assert all(f'    "{feature}",\n' in module.read_text() for feature in FEATURES)
        assert run("types", "--check", str(module)).exit_code == 0

        table.write_text(table.read_text().replace("conv_structure", "conv_outline"))

        assert run("types", "--check", str(module)).exit_code == 1
        assert told("types", "--check", str(module))["error"]["code"] == "stale_types"


class TestModel:
    def test_each_value_is_shown_with_its_source(self) -> None:
        lines = [line.split(maxsplit=2) for line in run("model", "gpt-6-luna").stdout.splitlines()]

        assert ["context_window", "1050000", OPENAI_PROFILE] in lines

    def test_an_endpoint_of_the_table_is_shown_as_the_table_declares_it(self, table: Path) -> None:
        table.write_text(table.read_text() + '\n[models."openai:gpt-6-luna"]\ncontext_window = 9000')

        document = told("model", "openai:gpt-6-luna")

        assert document["can"]["context_window"] == 9000
        assert document["sources"]["context_window"] == DECLARED

    def test_one_that_nobody_knows_is_told_loudly_with_the_nearest(self) -> None:
        result = run("model", "gpt-6-lunar")

        assert result.exit_code == 1
        assert "Nothing is known of 'gpt-6-lunar'" in result.stderr
        assert "Did you mean 'gpt-6-luna'" in result.stderr
        assert told("model", "gpt-9")["known"] is False

    def test_the_last_day_is_shown_with_its_source(self) -> None:
        last = run("model", "gpt-4o").stdout.splitlines()[-1]

        assert "2027-01-14, then gpt-6-luna" in last
        assert "OpenAI's deprecations page" in last


class TestCall:
    def test_the_answer_is_printed_with_its_receipt(self, provider: LoopbackProvider) -> None:
        provider.script(Text("Good morning."))

        result = run("call", "chat_responses", "hi")

        assert result.stdout == "Good morning.\n"
        assert "chat_responses <- openai:gpt-6-luna" in result.stderr

    def test_an_answer_moves_no_cursor_and_sets_no_title(self, provider: LoopbackProvider) -> None:
        provider.script(Text("a\tb\n\x1b]0;title\x07 \x9b2J \u202ec", chunks=8))

        result = run("call", "chat_responses", "hi")

        assert result.stdout == "a       b\n\\x1b]0;title\\x07 \\x9b2J \\u202ec\n"

    def test_as_json_it_is_in_letters_that_any_terminal_takes(self, provider: LoopbackProvider) -> None:
        provider.script(Text("Grüße \x1b]0;title\x07 \x7f\x9b2J \u202ec"))

        result = run("call", "chat_responses", "hi", "--json")

        assert set(result.stdout) <= {"\n", *map(chr, range(0x20, 0x7F))}
        assert json.loads(result.stdout)["text"] == "Grüße \x1b]0;title\x07 \x7f\x9b2J \u202ec"

    def test_the_text_may_come_from_standard_input(self, provider: LoopbackProvider) -> None:
        run("call", "chat_responses", "-", stdin="from a pipe")

        assert "from a pipe" in str(provider.requests[0].body)

    def test_as_json_it_is_one_document(self, provider: LoopbackProvider) -> None:
        provider.script(Text("Good morning."))

        document = told("call", "chat_responses", "hi")

        assert document["text"] == "Good morning."
        assert document["receipt"]["attempts"][0]["status"] == 200

    def test_a_failure_is_printed_without_a_stack_and_exits_1(self, provider: LoopbackProvider) -> None:
        provider.always(Status(401, message=f"Incorrect API key provided: {CANARY}"))

        result = run("call", "chat_responses", "hi")

        assert result.exit_code == 1
        assert "refused the key of the house" in result.stderr
        assert CANARY not in result.output
        assert "Traceback" not in result.output


def test_what_may_pass_exits_with_another_status_than_what_may_not(provider: LoopbackProvider) -> None:
    provider.always(Status(429, retry_after=60))
    limited = run("call", "conv_folder", "hi")
    provider.always(Status(400))
    malformed = run("call", "conv_folder", "hi")

    assert (limited.exit_code, malformed.exit_code) == (ExitStatus.LATER, ExitStatus.NO)


@pytest.mark.parametrize("arguments", [("tokens", "list"), ("usage",), ("serve",)])
def test_a_setting_that_cannot_be_understood_is_named_and_its_value_is_not(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHBAY_PORT", CANARY)

    result = run(*arguments)

    assert result.exit_code == ExitStatus.CONFIGURATION
    assert result.stderr.startswith("PATCHBAY_PORT: ")
    assert CANARY not in result.output


def test_a_table_that_does_not_load_exits_with_a_status_of_its_own(table: Path) -> None:
    table.write_text("nonsense = 1")

    assert run("features").exit_code == ExitStatus.CONFIGURATION
    assert run("check").exit_code == ExitStatus.NO


class TestDoctor:
    def test_it_says_what_is_well_and_what_is_not(self, table: Path) -> None:
        well = run("doctor")
        table.write_text("nonsense = 1")
        ill = run("doctor")

        assert (well.exit_code, ill.exit_code) == (0, ExitStatus.NO)
        assert "ok      table: " in well.stdout
        assert "fault   table: " in ill.stdout
        assert "Run: python -m backend check" in ill.stdout

    def test_its_json_says_the_same(self) -> None:
        told = json.loads(run("doctor", "--json").stdout)

        assert told["ok"]
        assert {check["name"]: check["state"] for check in told["checks"]}["keys"] == "ok"
        assert CANARY not in str(told)


def test_an_interrupted_call_exits_as_shells_expect(provider: LoopbackProvider) -> None:
    provider.always(Hang())
    # A shell's background jobs ignore the signal, and so would their children.
    heeding = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); runpy.run_module('backend', run_name='__main__')"
    command = [sys.executable, "-c", heeding, "call", "conv_folder", "hi"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:  # noqa: S603 - ours
        assert provider.wait_until(lambda requests: len(requests) == 1, timeout_seconds=40)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=20)

    assert running.returncode == 130


def test_explain_goes_by_what_the_row_declares_unless_the_call_is_said_to_be_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHBAY_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("LLM_CONFIG", raising=False)
    for name in HOUSE_KEYS:
        monkeypatch.delenv(name, raising=False)

    declared = CliRunner().invoke(app, ["explain", "chat_agent"])
    without = CliRunner().invoke(app, ["explain", "chat_agent", "--no-tools"])
    listed = json.loads(CliRunner().invoke(app, ["features", "--json"]).stdout)["features"]["chat_agent"]

    assert (declared.exit_code, without.exit_code, listed["endpoint"]) == (1, 0, None)
    assert listed["problem"] in declared.output
