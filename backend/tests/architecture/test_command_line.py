"""The command line imports what a command needs once it runs, and nothing for its help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.core import TyperGroup

from backend.cli import SUMMARIES
from backend.commands.groups import Deferred

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
from backend.commands.groups import Deferred
for name, summary in SUMMARIES.items():
    Deferred(name, summary).load()
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
    command = Deferred(name, SUMMARIES[name]).load()

    assert command.name == name
    assert " ".join(command.help.split()).startswith(SUMMARIES[name])


def test_every_module_of_a_command_is_in_the_list() -> None:
    folder = ROOT / "backend" / "commands"
    modules = {path.stem for path in folder.glob("*.py") if "\napp = commands(" in path.read_text("utf-8")}

    assert {Deferred(name, "").module.rpartition(".")[2] for name in SUMMARIES} == modules


@pytest.mark.parametrize("name", SUMMARIES)
def test_a_group_of_commands_says_something_of_each(name: str) -> None:
    command = Deferred(name, SUMMARIES[name]).load()

    assert (
        all(each.help for each in command.commands.values())
        if isinstance(command, TyperGroup)
        else command.help
    )
