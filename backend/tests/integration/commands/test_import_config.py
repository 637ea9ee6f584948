"""`import-config`, as a person calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import CANARY, run, told


@pytest.mark.writes_keys("lmi.json", "a configuration to import")
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

    def test_every_problem_of_an_import_is_reported_and_it_exits_1_without_a_table(
        self, config: Path
    ) -> None:
        config.write_text(json.dumps({"models": [{"name": "azure/gpt"}, {"name": "mystery"}]}))

        result = run("import-config", str(config))

        assert result.exit_code == 1
        assert result.stdout == ""
        assert result.stderr.count("wrong    ") == 2

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
            cwd=Path(__file__).parents[4],
            capture_output=True,
            text=True,
            check=False,
        )

        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"{config}: is not JSON (at line 1, column 13).\n"
