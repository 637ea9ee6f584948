"""The command line, and the service as a person starts it, on a loopback provider."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from backend.cli import app
from backend.serve import serve
from backend.settings import Settings
from backend.utils.llm.model_config import load
from backend.utils.llm.testing import Status, Text
from backend.utils.llm.testing.patchbays import loopback_table

if TYPE_CHECKING:
    from backend.utils.llm.testing import LoopbackProvider

CANARY = "sk-canary-77a1"
FEATURES = [
    "chat_responses",
    "conv_action_items",
    "conv_discard",
    "conv_folder",
    "conv_structure",
]


@pytest.fixture(autouse=True)
def table(tmp_path: Path, provider: LoopbackProvider, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of the product's features on the loopback provider, in force by the environment."""
    path = tmp_path / "llm.toml"
    path.write_text(loopback_table(provider, dict.fromkeys(FEATURES, "openai:gpt-6-luna")))
    monkeypatch.setenv("LLM_CONFIG", str(path))
    monkeypatch.setenv("LOOPBACK_OPENAI_KEY", CANARY)
    return path


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def told(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert CANARY not in result.output
    return json.loads(result.stdout)


class TestFeatures:
    def test_every_feature_is_listed_with_what_it_runs_on(self) -> None:
        output = run("features").stdout

        assert all(feature in output for feature in FEATURES)
        assert "openai:gpt-6-luna" in output

    def test_as_json_it_is_the_qos_document(self) -> None:
        assert sorted(told("features")["features"]) == FEATURES


class TestExplain:
    def test_it_says_where_a_call_would_run_and_sends_nothing(self, provider: LoopbackProvider) -> None:
        assert "1. openai:gpt-6-luna  house's key" in run("explain", "conv_folder").stdout
        assert provider.requests == ()

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
    def test_a_good_table_is_told_with_its_hash(self, table: Path) -> None:
        result = run("check")

        assert result.exit_code == 0
        assert load(table, environ={"LOOPBACK_OPENAI_KEY": "another"}).hash in result.stdout

    def test_a_bad_table_is_told_whole_and_exits_1(self, table: Path) -> None:
        table.write_text(
            table.read_text() + '\n[features.conv_folder]\noptions = { efort = "low" }\n[features.nobody]'
        )

        result = run("check", str(table))

        assert result.exit_code == 1
        assert "features.conv_folder.options.efort" in result.stderr
        assert "features.nobody" in result.stderr
        assert len(told("check", str(table))["problems"]) == 2

    def test_a_missing_table_is_told(self, tmp_path: Path) -> None:
        assert run("check", str(tmp_path / "none.toml")).exit_code == 1


class TestImportConfig:
    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        path = tmp_path / "lmi.json"
        path.write_text(json.dumps({"models": [{"name": "openai/gpt-6-luna", "api_key": CANARY}]}))
        return path

    def test_the_table_goes_to_standard_output_and_can_be_used(self, config: Path, tmp_path: Path) -> None:
        result = run("import-config", str(config), "--feature", "answers")

        (table := tmp_path / "imported.toml").write_text(result.stdout)
        assert result.exit_code == 0
        assert run("check", str(table)).exit_code == 0
        assert 'answers = "openai:gpt-6-luna"' in result.stdout

    def test_the_report_goes_to_standard_error_without_the_key(self, config: Path) -> None:
        result = run("import-config", str(config))

        assert "todo     models.0.api_key: set OPENAI_API_KEY to this key" in result.stderr
        assert CANARY not in result.output

    def test_what_cannot_be_imported_is_told_whole_and_exits_1_without_a_table(self, config: Path) -> None:
        config.write_text(json.dumps({"models": [{"name": "azure/gpt"}, {"name": "mystery"}]}))

        result = run("import-config", str(config))

        assert result.exit_code == 1
        assert result.stdout == ""
        assert result.stderr.count("wrong ") == 2

    @pytest.mark.parametrize("arguments", [(), ("none.json",), ("lmi.json", "--feature", "No Name")])
    def test_a_command_that_cannot_be_followed_exits_2(
        self, config: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(config.parent)

        result = run("import-config", *arguments)

        assert result.exit_code == 2
        assert result.stdout == ""

    def test_as_json_it_is_one_document(self, config: Path) -> None:
        document = told("import-config", str(config))

        assert document["ok"]
        assert document["table"].startswith("# Imported from lmi.json")
        assert {"kind", "path", "says"} == set(document["findings"][0])

    def test_as_json_the_error_is_json_too(self) -> None:
        assert told("import-config", "none.json")["error"]["code"] == "unusable_input"

    def test_a_broken_file_gives_no_stack(self, config: Path) -> None:
        config.write_text(f'{{"api_key": "{CANARY}')

        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "backend", "import-config", str(config)],
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=False,
        )

        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"{config}: is not JSON (at line 1, column 13).\n"


class TestCall:
    def test_the_answer_is_printed_with_its_receipt(self, provider: LoopbackProvider) -> None:
        provider.script(Text("Good morning."))

        result = run("call", "chat_responses", "hi")

        assert result.stdout == "Good morning.\n"
        assert "chat_responses <- openai:gpt-6-luna" in result.stderr

    def test_the_text_may_come_from_standard_input(self, provider: LoopbackProvider) -> None:
        run("call", "chat_responses", "-", stdin="from a pipe")

        assert "from a pipe" in str(provider.requests[0].body)

    def test_as_json_it_is_one_document(self, provider: LoopbackProvider) -> None:
        provider.script(Text("Good morning."))

        document = told("call", "chat_responses", "hi")

        assert document["text"] == "Good morning."
        assert document["receipt"]["attempts"][0]["status"] == 200

    def test_a_failure_is_told_without_a_stack_and_exits_1(self, provider: LoopbackProvider) -> None:
        provider.always(Status(401, message=f"Incorrect API key provided: {CANARY}"))

        result = run("call", "chat_responses", "hi")

        assert result.exit_code == 1
        assert "refused the key of the house" in result.stderr
        assert CANARY not in result.output
        assert "Traceback" not in result.output


class TestServe:
    """`./backend/run.sh` on a provider that has a key: no built-in model is started."""

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        return Settings(data_dir=tmp_path / "data", port=0)

    def test_the_sample_conversation_comes_out_whole(
        self, settings: Settings, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert serve(settings, once=True) == 0

        printed = capsys.readouterr().out
        assert all(feature in printed for feature in ("conv_structure", "conv_action_items", "conv_folder"))
        assert "gpt-6-luna-2026-11-01" in printed.replace("\n", "")
        assert CANARY not in printed

    def test_a_provider_that_refuses_is_told_and_exits_1(
        self, settings: Settings, provider: LoopbackProvider, capsys: pytest.CaptureFixture[str]
    ) -> None:
        provider.always(Status(401, message=f"Incorrect API key provided: {CANARY}"))

        assert serve(settings, once=True) == 1

        assert "credential_rejected" in (printed := capsys.readouterr().out)
        assert CANARY not in printed

    def test_a_bad_table_is_told_before_anything_starts(
        self, settings: Settings, table: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        table.write_text("nonsense")

        assert serve(settings, once=True) == 1

        assert "not TOML" in capsys.readouterr().out
        assert not settings.data_dir.exists()
