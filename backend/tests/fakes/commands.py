"""The command line, run in this process on a table and a folder of the test's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner, Result

from backend.cli import app
from backend.utils.llm.testing.patchbays import HOUSE_KEYS

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def in_force(table: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put ``table`` in force by the environment, with the house's keys; the folder for data below ``folder``."""
    path = folder / "llm.toml"
    path.write_text(table)
    monkeypatch.setenv("LLM_CONFIG", str(path))
    monkeypatch.setenv("PATCHBAY_DATA_DIR", str(folder / "data"))
    for name, key in HOUSE_KEYS.items():
        monkeypatch.setenv(name, key)
    return folder / "data"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def told(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json").stdout)
