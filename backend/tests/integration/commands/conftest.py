"""The command line on a table of the product's features, in force by the environment, on a loopback provider."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from backend.cli import app
from backend.utils.llm.testing.patchbays import loopback_table

if TYPE_CHECKING:
    from pathlib import Path

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
    monkeypatch.setenv("PATCHBAY_DATA_DIR", str(tmp_path / "no data"))
    monkeypatch.setenv("LOOPBACK_OPENAI_KEY", CANARY)
    return path


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def told(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert CANARY not in result.output
    return json.loads(result.stdout)
