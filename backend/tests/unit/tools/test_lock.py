"""Whether the lock is complete, on every platform that it is for."""

from __future__ import annotations

from importlib.metadata import distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from backend.tools.lock import (
    DECLARED,
    LOCKS,
    METADATA,
    PLATFORMS,
    ROOT,
    LockedRelease,
    Platform,
    ReleaseMetadata,
    find_lock_problems,
    parse_declared_requirements,
    parse_lock_files,
    parse_release_metadata,
)

LOCKED = parse_lock_files(*((ROOT / name).read_text() for name in LOCKS))
RUNTIME = parse_lock_files(
    *((ROOT / name).read_text() for name in ("requirements.txt", "requirements-model.txt"))
)
KNOWN = parse_release_metadata(METADATA.read_text())
LINUX = Platform("Linux", "x86_64", "3.12", ())
WINDOWS = Platform("Windows", "AMD64", "3.12", ())


@pytest.mark.parametrize("platform", PLATFORMS, ids=str)
def test_everything_that_a_locked_release_requires_is_locked(platform: Platform) -> None:
    declared = parse_declared_requirements(*((ROOT / name).read_text() for name in DECLARED))

    assert find_lock_problems(LOCKED, KNOWN, declared, platform) == []


@pytest.mark.parametrize("platform", PLATFORMS, ids=str)
def test_the_service_alone_is_complete_without_what_tests_need(platform: Platform) -> None:
    declared = parse_declared_requirements((ROOT / "requirements.in").read_text())

    assert find_lock_problems(RUNTIME, KNOWN, declared, platform) == []


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_of_a_lock_is_read(name: str) -> None:
    text = (ROOT / name).read_text()
    lines = [line for line in text.splitlines() if line[:1].isalnum()]

    assert len(parse_lock_files(text)) == len(lines) > 0


def test_what_is_known_of_a_release_is_what_the_installed_one_says() -> None:
    installed = {
        f"{canonicalize_name(found.metadata['Name'])}=={found.version}": found for found in distributions()
    }
    locked = [str(release) for release in LOCKED if str(release) in installed]

    assert len(locked) > 100
    assert {name: KNOWN[name].requires for name in locked} == {
        name: tuple(installed[name].requires or ()) for name in locked
    }


class TestFaults:
    def test_an_extra_that_a_release_asks_for_is_followed(self) -> None:
        locked = [LockedRelease("genai", "1"), LockedRelease("auth", "2")]
        metadata = {
            "genai==1": ReleaseMetadata(("auth[requests]>=1",)),
            "auth==2": ReleaseMetadata(("requests; extra == 'requests'",)),
        }

        assert find_lock_problems(locked, metadata, (), LINUX) == [
            'auth==2 requires requests; extra == "requests"; locked is nothing'
        ]

    def test_an_unrequested_extra_is_not_locked(self) -> None:
        locked = [LockedRelease("auth", "2")]
        metadata = {"auth==2": ReleaseMetadata(("requests; extra == 'requests'",))}

        assert find_lock_problems(locked, metadata, (), LINUX) == []

    def test_what_only_one_system_needs_is_missed_there_only(self) -> None:
        locked = [LockedRelease("click", "8")]
        metadata = {"click==8": ReleaseMetadata(("colorama; sys_platform == 'win32'",))}

        assert find_lock_problems(locked, metadata, (), LINUX) == []
        assert len(find_lock_problems(locked, metadata, (), WINDOWS)) == 1

    def test_a_release_that_is_too_old_for_another_is_found(self) -> None:
        locked = [LockedRelease("a", "1"), LockedRelease("b", "1")]
        metadata = {"a==1": ReleaseMetadata(("b>=2",)), "b==1": ReleaseMetadata()}

        assert find_lock_problems(locked, metadata, (), LINUX) == ["a==1 requires b>=2; locked is b==1"]

    def test_a_release_that_does_not_run_on_a_python_is_found(self) -> None:
        metadata = {"a==1": ReleaseMetadata(requires_python="<3.12")}

        assert find_lock_problems([LockedRelease("a", "1")], metadata, (), LINUX) == [
            "a==1 does not run on Python 3.12"
        ]

    def test_two_releases_of_one_distribution_are_found(self) -> None:
        metadata = {"a==1": ReleaseMetadata(), "a==2": ReleaseMetadata()}

        assert find_lock_problems([LockedRelease("a", "1"), LockedRelease("a", "2")], metadata, (), LINUX)

    def test_what_people_declared_is_locked_with_its_extras(self) -> None:
        metadata = {"sqlalchemy==2": ReleaseMetadata(("greenlet; extra == 'asyncio'",))}
        declared = [Requirement("sqlalchemy[asyncio]")]

        assert len(find_lock_problems([LockedRelease("sqlalchemy", "2")], metadata, declared, LINUX)) == 1
