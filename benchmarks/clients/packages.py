"""Packages from the npm registry, each set in a folder and with a home of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FOLDER: Final = Path(__file__).parents[2] / ".benchmarks" / "clients"
INSTALL_SECONDS: Final = 600


class NotInstalledError(Exception):
    """A client is not there. The message says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client is installed, and where it runs.

    Attributes:
        folder: Holds ``node_modules`` and the scripts that use them.
        state: A temporary folder. Clients write into their user's home, and look for a repository around where they work.
    """

    folder: Path
    state: Path

    @property
    def home(self) -> Path:
        """What the client takes for its user's home."""
        return _made(self.state / "home")

    @property
    def work(self) -> Path:
        """The folder that the client works in."""
        return _made(self.state / "work")

    def environ(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """An environment with nothing of the user's in it but the path."""
        home = str(self.home)
        return {
            "PATH": os.environ["PATH"],  # noqa: TID251 - node and its tools are found there
            "LANG": "C.UTF-8",
            "HOME": home,
            "XDG_CONFIG_HOME": f"{home}/.config",
            "XDG_DATA_HOME": f"{home}/.local/share",
            "XDG_CACHE_HOME": f"{home}/.cache",
            "XDG_STATE_HOME": f"{home}/.local/state",
            **(more or {}),
        }

    def program(self, name: str) -> str:
        """The path of a command that a package brought."""
        return str(self.folder / "node_modules" / ".bin" / name)


def missing_tools() -> str | None:
    """Why nothing can be installed here; None if it can."""
    absent = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    return f"{' and '.join(absent)} not found on this machine" if absent else None


def installed(name: str, packages: Sequence[str], state: Path) -> Place:
    """The place of ``packages``, such as ``openai@7.59.0``; installed unless they are there.

    Raises:
        NotInstalledError: If npm cannot install them.
    """
    place = Place(_made(FOLDER / name), state / name)
    stamp = place.folder / "packages.json"
    if not stamp.is_file() or json.loads(stamp.read_text()) != list(packages):
        if packages:
            _install(place, packages)
        stamp.write_text(json.dumps(list(packages)))
    return place


def _install(place: Place, packages: Sequence[str]) -> None:
    (place.folder / "package.json").write_text('{"private": true}\n')
    argv = ("npm", "install", "--no-audit", "--no-fund", "--no-update-notifier", *packages)
    try:
        done = subprocess.run(  # noqa: S603 - packages with their versions, written below
            argv,
            cwd=place.folder,
            env={**os.environ, **place.environ()},  # noqa: TID251 - a proxy, a registry: the machine's
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotInstalledError(f"npm took more than {INSTALL_SECONDS} s") from None
    if done.returncode:
        raise NotInstalledError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "npm failed")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
