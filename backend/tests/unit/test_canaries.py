"""A key that is told fails the test that told it, whatever told it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from backend.tests.fakes import leaks

ROOT = Path(__file__).parents[3]
TESTS = [name for name in vars(leaks) if name.startswith("test_")]
CLEAN = [name for name in TESTS if name.startswith("test_clean_")]


@pytest.fixture(scope="module")
def outcomes() -> dict[str, set[str]]:
    """What became of each test of `leaks`, run as any other."""
    done = subprocess.run(  # noqa: S603 - our own tests
        [
            sys.executable,
            "-m",
            "pytest",
            "-rA",
            "--tb=no",
            "--show-capture=no",
            "-p",
            "no:cacheprovider",
            leaks.__file__,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, set[str]] = {name: set() for name in TESTS}
    for outcome, name in re.findall(r"^(PASSED|FAILED|ERROR) \S+::(\w+)", done.stdout, re.MULTILINE):
        found[name].add(outcome)
    return found


@pytest.mark.parametrize("name", sorted({*TESTS} - {*CLEAN}))
def test_a_test_that_reveals_a_key_fails(name: str, outcomes: dict[str, set[str]]) -> None:
    assert outcomes[name] & {"FAILED", "ERROR"}


@pytest.mark.parametrize("name", CLEAN)
def test_a_test_that_reveals_no_key_passes(name: str, outcomes: dict[str, set[str]]) -> None:
    assert outcomes[name] == {"PASSED"}
