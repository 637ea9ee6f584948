"""Installs the sample monolith from scratch, as a project of its own, and runs its tests: ``make example``.

    python -m backend.tools.example [--warn-newest]

Each Python of `PYTHONS` that this machine has gets the monolith twice: with the locked releases, and with the newest that its
requirements allow. The facade is lifted into each copy.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from backend.tools.lift import PLACE, lift_facade

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ROOT: Final = Path(__file__).parents[2]
SAMPLE: Final = ROOT / "examples" / "monolith"
PYTHONS: Final = ("3.11", "3.13")
RELEASES: Final = ("locked", "newest")
LOCKS: Final = ("requirements.txt", "requirements-dev.txt")
SHOWN: Final = ("langchain", "langgraph", "langchain-core", "openai", "google-genai")
"""The packages whose releases are printed."""
_NEEDED: Final = (
    "requirements.txt",
    "requirements-dev.txt",
    str(PLACE / "requirements.txt"),
    str(PLACE / "requirements-gemini.txt"),
)
_VERSIONS: Final = """
from importlib.metadata import PackageNotFoundError, version
import sys
for name in sys.argv[1:]:
    try: print(name, version(name), end=", ")
    except PackageNotFoundError: pass
"""
_SECONDS: Final = 600


class SampleTestResult(NamedTuple):
    """The result of running the tests of one copy of the sample application.

    Attributes:
        name: The Python version, and whether the locked or the newest releases were installed.
        passed: Whether the tests passed; None if they were skipped.
        says: The last line of the tests' output, or why there is no output.
        output: The whole output, which is printed if the tests fail.
    """

    name: str
    passed: bool | None
    says: str
    output: str = ""

    def is_failure(self, *, tolerates_newest: bool) -> bool:
        """Whether this result makes the command fail. ``tolerates_newest`` excepts tests with the newest releases."""
        return self.passed is False and not (tolerates_newest and self.name.endswith("newest"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tests of every copy of the sample application, and print the results.

    Returns:
        The exit status: 1 if tests failed, or if none could be run; else 0.
    """
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--warn-newest",
        action="store_true",
        help="A failure with the newest releases is told, and does not count.",
    )
    warns = options.parse_args(arguments).warn_newest
    with tempfile.TemporaryDirectory(prefix="monolith-") as folder, ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda item: _outcome(*item, folder=Path(folder)), _wanted()))
    return print_test_results(outcomes, tolerates_newest=warns)


def print_test_results(outcomes: Iterable[SampleTestResult], *, tolerates_newest: bool) -> int:
    """Print the result of each copy of the sample application, and return the exit status."""
    results = list(outcomes)
    for outcome in results:
        if outcome.passed is False:
            sys.stdout.write(outcome.output)
    for outcome in results:
        word = {True: "ok", False: "FAILED", None: "skipped"}[outcome.passed]
        sys.stdout.write(f"example  {word:<8} {outcome.name}: {outcome.says}\n")
    ran = any(outcome.passed is not None for outcome in results)
    return int(not ran or any(outcome.is_failure(tolerates_newest=tolerates_newest) for outcome in results))


def read_locked_constraints() -> Iterator[str]:
    """Yield the releases in the lock files as lines of a pip constraints file, without their hashes."""
    for lock in LOCKS:
        for line in (ROOT / lock).read_text(encoding="utf-8").splitlines():
            if line[:1].isalnum():
                name, equals, version = line.rstrip(" \\").partition("==")
                # An extra's name is no part of a constraint.
                yield f"{name.partition('[')[0]}{equals}{version}"


def _wanted() -> Iterator[tuple[str, str, Path | None]]:
    for version in PYTHONS:
        python = find_python(version)
        yield from ((version, releases, python) for releases in RELEASES)


def find_python(version: str) -> Path | None:
    """Find a Python interpreter of ``version``, such as ``3.11``: the running one, one on the PATH, or one of pyenv.

    None if there is none.
    """
    on_path = shutil.which(f"python{version}")
    candidates = [
        Path(sys.base_prefix) / "bin" / f"python{version}",
        *([Path(on_path)] if on_path else []),
        *sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python")),
    ]
    return next((found for found in candidates if found.exists() and _is_version(found, version)), None)


def _is_version(python: Path, version: str) -> bool:
    asked = [str(python), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603 - a Python's own path
    return done.stdout.strip() == version


def _outcome(version: str, releases: str, python: Path | None, *, folder: Path) -> SampleTestResult:
    name = f"Python {version}, {releases}"
    if python is None:
        return SampleTestResult(
            name, None, f"there is no Python {version} here, neither on the path nor of pyenv"
        )
    place = folder / f"{version}-{releases}"
    shutil.copytree(SAMPLE, place, ignore=shutil.ignore_patterns("__pycache__", "utils"))
    lift_facade(place)
    locked = place / "constraints.txt"
    locked.write_text("\n".join(read_locked_constraints()) + "\n", encoding="utf-8")
    installed = _install(place, python, ["--constraint", str(locked)] if releases == "locked" else [])
    if installed.returncode:
        return SampleTestResult(name, passed=False, says="it could not be installed", output=installed.stdout)
    own = str(place / ".venv" / "bin" / "python")
    tested = _run([own, "-m", "pytest", "-q", "-p", "no:cacheprovider"], place)
    versions = _run([own, "-c", _VERSIONS, *SHOWN], place).stdout.rstrip(", ")
    last = (tested.stdout.strip().splitlines() or ["nothing was printed"])[-1]
    return SampleTestResult(name, not tested.returncode, f"{last} ({versions})", tested.stdout)


def _install(place: Path, python: Path, extra: list[str]) -> subprocess.CompletedProcess[str]:
    """Create ``.venv`` in ``place`` and install the sample's packages, with uv or else with pip."""
    needed = [word for file in _NEEDED for word in ("-r", file)]
    uv = [sys.executable, "-m", "uv", "--no-config", "--system-certs", "--no-python-downloads", "--quiet"]
    _run([*uv, "venv", "--clear", "--python", str(python), ".venv"], place)
    own = ".venv/bin/python"
    done = _run([*uv, "pip", "install", "--python", own, *needed, *extra], place)
    if done.returncode == 0:
        return done
    _run([str(python), "-m", "venv", "--clear", ".venv"], place)
    return _run([own, "-m", "pip", "install", "--quiet", *needed, *extra], place)


def _run(command: list[str], place: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own commands
        command,
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=_SECONDS,
    )


if __name__ == "__main__":
    raise SystemExit(main())
