"""Where the peers live: each in the packages that it wants, because they do not agree on the SDK's version."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

Environment = Literal["project", "litellm", "pydantic-ai"]
ROOT = Path(__file__).parents[1]
_BUILT = ROOT / ".benchmarks"
_REQUIREMENTS = Path(__file__).parent / "environments"


def python_of(environment: Environment) -> Path:
    """The interpreter of ``environment``. Builds it if it is not there, or was built from other requirements."""
    if environment == "project":
        return Path(sys.executable)
    folder, wanted = _BUILT / environment, _REQUIREMENTS / f"{environment}.txt"
    python, stamp = folder / "bin" / "python", folder / ".requirements.txt"
    if not stamp.is_file() or stamp.read_bytes() != wanted.read_bytes():
        _build(folder, wanted)
        shutil.copyfile(wanted, stamp)
    return python


def _build(folder: Path, requirements: Path) -> None:
    print(f"Building {folder.name}'s environment in {folder.relative_to(ROOT)}.", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    _python("venv", "--without-pip", str(folder))
    # What is pinned and nothing else. Wheels only: no code of a package runs while it is installed.
    quiet = ("--quiet", "--disable-pip-version-check", "--no-input", "--python", str(folder))
    _python("pip", *quiet, "install", "--no-deps", "--only-binary", ":all:", "-r", str(requirements))


def _python(*module: str) -> None:
    subprocess.run([sys.executable, "-m", *module], check=True)  # noqa: S603 - ours
