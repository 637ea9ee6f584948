"""The sample monolith: its table, and what is told of its runs. `make example` runs it."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING

import pytest

from backend.tools import example
from backend.tools.example import (
    SAMPLE,
    SampleTestResult,
    find_python,
    print_test_results,
    read_locked_constraints,
)
from backend.tools.lint import lint_table
from backend.utils.llm import Table
from backend.utils.llm.model_config.document import parse_toml, read_table_file

if TYPE_CHECKING:
    from pathlib import Path

LOCKED, NEWEST = "Python 3.11, locked", "Python 3.11, newest"


def test_its_table_is_right_and_needs_no_warning_but_that_one_provider_gives_vectors() -> None:
    path = SAMPLE / "llm.toml"
    found = lint_table(
        Table(path, environ={}).snapshot, parse_toml(read_table_file(path), path), date(2026, 11, 29)
    )

    assert [finding for finding in found if "memories" not in str(finding)] == []


def test_the_locked_releases_are_constraints_without_hashes() -> None:
    lines = list(read_locked_constraints())

    assert len(lines) > 100
    assert all(re.fullmatch(r"[a-z0-9._-]+==[\w.!+-]+( ; .+)?", line, re.IGNORECASE) for line in lines)


@pytest.mark.parametrize(
    ("passed", "warns", "status"),
    [
        ((True, True), False, 0),
        ((True, False), False, 1),
        ((True, False), True, 0),
        ((False, True), True, 1),
        ((True, None), False, 0),
        ((None, None), False, 1),
    ],
)
def test_it_fails_when_a_run_does_that_counts_or_none_was_made(
    passed: tuple[bool | None, bool | None], *, warns: bool, status: int
) -> None:
    outcomes = [SampleTestResult(name, done, "") for name, done in zip((LOCKED, NEWEST), passed, strict=True)]

    assert print_test_results(outcomes, tolerates_newest=warns) == status


def test_a_failed_run_is_told_whole_and_the_summary_comes_last(capsys: pytest.CaptureFixture[str]) -> None:
    print_test_results(
        [SampleTestResult(LOCKED, passed=False, says="1 failed", output="the trace\n")],
        tolerates_newest=False,
    )

    assert capsys.readouterr().out == f"the trace\nexample  FAILED   {LOCKED}: 1 failed\n"


def test_a_python_that_is_not_here_is_skipped_with_its_cause(tmp_path: Path) -> None:
    outcome = example._outcome("3.99", "locked", find_python("3.99"), folder=tmp_path)

    assert outcome.passed is None
    assert "there is no Python 3.99 here" in outcome.says
