"""The command line imports what a command needs once it runs, and nothing for its help."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.core import TyperGroup

from backend.cli import SUMMARIES
from backend.commands.groups import LazyCommand
from backend.commands.terminal import ExitStatus
from backend.tests.fakes.commands import run

ROOT = Path(__file__).parents[3]
HEAVY = {"aiohttp", "cryptography", "fastapi", "httpx", "langchain_core", "pydantic", "sqlalchemy", "uvicorn"}
"""What takes a tenth of a second to import, or more."""

HELP = """
import sys
from backend.cli import app
try:
    app(["--help"])
except SystemExit:
    print(sorted(name for name in sys.modules if name.startswith("backend.") or name.split(".")[0] == "rich"))
"""
EVERY_HELP = """
import sys
from backend.cli import SUMMARIES
from backend.commands.groups import LazyCommand
for name, summary in SUMMARIES.items():
    LazyCommand(name, summary).load_command()
    loud = sorted({loaded.split(".")[0] for loaded in sys.modules} & HEAVY)
    if loud:
        print(name, loud)
        break
"""


def printed(program: str) -> str:
    done = subprocess.run(  # noqa: S603 - our own programs
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_help_imports_no_command() -> None:
    assert printed(HELP).splitlines()[-1] == str(
        ["backend.cli", "backend.commands", "backend.commands.groups"]
    )


def test_help_of_a_command_imports_nothing_heavy() -> None:
    assert printed(f"HEAVY = {HEAVY!r}\n{EVERY_HELP}") == ""


@pytest.mark.parametrize("name", SUMMARIES)
def test_a_command_says_of_itself_what_the_list_says_of_it(name: str) -> None:
    command = LazyCommand(name, SUMMARIES[name]).load_command()

    assert command.name == name
    assert " ".join(command.help.split()).startswith(SUMMARIES[name])


def test_every_module_of_a_command_is_in_the_list() -> None:
    folder = ROOT / "backend" / "commands"
    modules = {
        path.stem for path in folder.glob("*.py") if "\napp = make_command_app(" in path.read_text("utf-8")
    }

    assert {LazyCommand(name, "").module.rpartition(".")[2] for name in SUMMARIES} == modules


@pytest.mark.parametrize("name", SUMMARIES)
def test_a_group_of_commands_says_something_of_each(name: str) -> None:
    command = LazyCommand(name, SUMMARIES[name]).load_command()

    assert (
        all(each.help for each in command.commands.values())
        if isinstance(command, TyperGroup)
        else command.help
    )


@pytest.mark.parametrize("name", SUMMARIES)
def test_help_of_a_command_tells_all_of_it_however_narrow_the_screen(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")

    told = run(name, "--help").stdout

    assert "…" not in told.replace("ENDPOINT…", "")
    assert "..." not in told.replace("[ARGS]...", "").replace("}...", "")


def test_the_page_names_every_exit_status() -> None:
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text("utf-8")
    told = re.findall(r"^\| (\d+) \|", page, re.MULTILINE)

    assert set(map(int, told)) == {0, *ExitStatus, 130}


def test_the_page_names_every_command() -> None:
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text("utf-8")

    assert list(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)) == list(SUMMARIES)


def completed(words: str, environ: dict[str, str]) -> list[str]:
    """What the program ``patchbay`` offers for the last of ``words``."""
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_PATCHBAY_COMPLETE": "complete_bash"}
    program = str(ROOT / "backend" / "patchbay")
    environ = {"PATH": "/usr/bin:/bin", **environ}
    done = subprocess.run([program], env=asked | environ, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="the program is a script of bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("patchbay expl", ["explain"]),
        ("patchbay explain conv_fo", ["conv_folder"]),
        ("patchbay explain chat --byok open", ["openai", "openrouter"]),
        ("patchbay override disable anthropic:claude-h", ["anthropic:claude-haiku-5-5"]),
    ],
)
def test_a_shell_completes_names_of_the_table(words: str, offered: list[str]) -> None:
    assert completed(words, {}) == offered


def test_a_table_that_does_not_load_completes_nothing(tmp_path: Path) -> None:
    assert completed("patchbay explain conv_fo", {"LLM_CONFIG": str(tmp_path / "none.toml")}) == []


def test_what_a_terminal_has_no_letter_for_is_printed_as_its_number() -> None:
    command = [sys.executable, "-m", "backend", "explain", "conv_folder", "--byok", "nobody"]
    environ = {"PATH": "", "PYTHONIOENCODING": "ascii", "PATCHBAY_DATA_DIR": "/none"}

    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)  # noqa: S603 - ours

    assert (done.returncode, done.stderr) == (ExitStatus.NO, "")
    assert "\\u2717  None of your keys can serve" in done.stdout
