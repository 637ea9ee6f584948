"""What holds for the repository as a whole."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = [path for path in (ROOT / "backend").rglob("*.py") if "__pycache__" not in path.parts]


@pytest.mark.parametrize("script", ["backend/run.sh", "backend/test.sh", ".ci/run"])
def test_the_commands_can_be_run(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)


def test_the_test_command_names_no_test_file() -> None:
    assert not re.search(r"tests?/\S+\.py", (ROOT / "backend/test.sh").read_text())


def test_no_module_has_a_thousand_lines() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCES}

    assert {path: number for path, number in lines.items() if number >= 1000} == {}


def test_every_folder_of_tests_is_a_package() -> None:
    folders = {path.parent for path in SOURCES if path.name.startswith("test_")}

    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []
