"""What the service is deployed with is what its tools take. There is no container engine here: no image is built."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from backend.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
SECRETS = ("PASSWORD", "SECRET", "KEY")


def run(command: Sequence[str | Path]) -> str:
    """What it says if it finds something; nothing if all is well."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)  # noqa: S603 - of this test
    return f"{done.stdout}{done.stderr}" if done.returncode else ""


def test_the_dockerfile_is_as_its_linter_wants_it() -> None:
    assert run([BIN / "hadolint", "--no-color", "Dockerfile"]) == ""


def test_the_compose_file_is_valid() -> None:
    assert run([BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"]) == ""


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_the_unit_is_valid(tmp_path: Path) -> None:
    unit = (ROOT / "deploy" / "patchbay.service").read_text(encoding="utf-8")
    copy = tmp_path / "patchbay.service"
    copy.write_text(unit.replace("/opt/patchbay/.venv/bin/python", sys.executable), encoding="utf-8")

    assert run(["systemd-analyze", "verify", copy]) == ""


def test_the_image_holds_no_secret_and_runs_without_rights() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    commands = [line.split(maxsplit=1) for line in lines if line[:1].isupper()]
    stages = [words[1].split()[0] for words in commands if words[0] == "FROM"]

    assert all(":" in stage and not stage.endswith(":latest") for stage in stages)
    assert [words[1] for words in commands if words[0] == "USER"] == ["10001"]
    assert not [words for words in commands if words[0] == "ARG"]
    assert (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()[1] == "*"


def test_secrets_come_from_outside() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    variables = [pair for one in services.values() for pair in one.get("environment", {}).items()]

    told = [value for name, value in variables if any(word in name for word in SECRETS)]

    assert told
    assert all(value.startswith("${") for value in told)


def test_the_time_that_a_stop_has_is_enough_for_one_in_order() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    unit = (ROOT / "deploy" / "patchbay.service").read_text(encoding="utf-8")

    assert compose["services"]["patchbay"]["stop_grace_period"] == "20s"
    assert "TimeoutStopSec=20\n" in unit
    assert Settings(_env_file=None, leaving_seconds=5).leaving_seconds == 5
