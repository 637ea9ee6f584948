"""A copy of the facade in another project, and how it is brought up to date."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from backend.tools import lift as tool
from backend.tools.lift import MANIFEST, PLACE, LiftError, lift_facade, list_facade_requirements
from backend.utils.llm import Table

if TYPE_CHECKING:
    from pathlib import Path

_ASK = """
import sys
from utils.llm import explain, use
from utils.llm.testing import LoopbackProvider, Text
from utils.llm.testing.patchbays import loopback_patchbay
with LoopbackProvider() as provider, use(loopback_patchbay(provider, {"f": "openai:gpt-6-luna"})) as patchbay:
    provider.script(Text("hello"))
    print(patchbay.get_llm("f").invoke("hi").text, any(name.startswith("backend") for name in sys.modules))
    patchbay.close()
print(explain.__module__)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a copy of everything."""
    made = tmp_path_factory.mktemp("project")
    lift_facade(made)
    return made


def test_the_copy_answers_without_anything_of_this_project(whole: Path) -> None:
    done = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-c", _ASK], cwd=whole, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.stdout.split() == ["hello", "False", "utils.llm.clients"], done.stderr


def test_the_first_table_is_right(whole: Path) -> None:
    assert list(Table(whole / "llm.toml", environ={}).snapshot.features) == ["summary"]


def test_prompts_of_this_product_stay_behind(whole: Path) -> None:
    assert not (whole / PLACE / "conversation_folder").exists()


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The facade, as small as can be."""
    files = {"clock.py": "# clock\n", "state/types.py": "# types\n", "version.py": "# version\n"}
    monkeypatch.setattr(tool, "_source", lambda: files)
    return files


@pytest.fixture
def project(source: dict[str, str], tmp_path: Path) -> Path:
    """A project with a copy of ``source``."""
    assert source
    lift_facade(tmp_path)
    return tmp_path


@pytest.fixture
def clock(project: Path) -> Path:
    """A file of the copy."""
    return project / PLACE / "clock.py"


@pytest.fixture
def newer(source: dict[str, str], project: Path) -> None:
    """From now on the facade has another clock, one file more, and one less."""
    assert project.is_dir()
    source["clock.py"] = "# newer\n"
    source["later.py"] = "# later\n"
    del source["version.py"]


def states(changes: list[tool.FileChange]) -> dict[str, str]:
    return {change.path: change.state for change in changes if change.state != "same"}


@pytest.mark.usefixtures("source")
def test_a_table_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "llm.toml").write_text("mine")
    lift_facade(tmp_path)

    assert (tmp_path / "llm.toml").read_text() == "mine"


def test_its_requirements_are_few_and_leave_the_next_major_release_out() -> None:
    needed = list_facade_requirements()

    assert len(needed["requirements.txt"]) <= 11
    assert all("<" in line for lines in needed.values() for line in lines)
    assert not any("fastapi" in line or "sqlalchemy" in line for line in needed["requirements.txt"])


def test_it_is_not_copied_over_another(project: Path) -> None:
    with pytest.raises(LiftError, match="is there already"):
        lift_facade(project)


def test_there_must_be_a_copy_to_update(tmp_path: Path) -> None:
    with pytest.raises(LiftError, match="no copy"):
        lift_facade(tmp_path, update=True)


def test_there_must_be_a_project(tmp_path: Path) -> None:
    with pytest.raises(LiftError, match="no folder"):
        lift_facade(tmp_path / "nowhere")


@pytest.mark.parametrize("manifest", ["no JSON", "[]", "{}", '{"files": 1}'])
def test_a_broken_manifest_is_told_and_nothing_written(project: Path, manifest: str) -> None:
    (project / PLACE / MANIFEST).write_text(manifest)

    with pytest.raises(LiftError, match=MANIFEST):
        lift_facade(project, update=True)


@pytest.mark.usefixtures("newer")
class TestUpdate:
    def test_brings_what_is_new_and_takes_what_is_gone(self, project: Path, clock: Path) -> None:
        changes = states(lift_facade(project, update=True))

        assert changes == {"clock.py": "updated", "later.py": "added", "version.py": "removed"}
        assert clock.read_text().endswith("# newer\n")
        assert states(lift_facade(project, update=True)) == {}

    def test_a_dry_run_writes_nothing_and_has_the_diff(self, project: Path, clock: Path) -> None:
        before = clock.read_bytes()
        changes = {change.path: change for change in lift_facade(project, update=True, dry_run=True)}

        assert clock.read_bytes() == before
        assert "+# newer\n" in list(changes["clock.py"].to_unified_diff())

    def test_what_was_changed_there_alone_stays(self, project: Path) -> None:
        theirs = project / PLACE / "state/types.py"
        theirs.write_text("# theirs\n")

        assert states(lift_facade(project, update=True))["state/types.py"] == "yours"
        assert theirs.read_text() == "# theirs\n"
        assert states(lift_facade(project, update=True))["state/types.py"] == "yours", "also the next time"

    def test_what_changed_in_both_places_stops_it_before_anything_is_written(
        self, project: Path, clock: Path
    ) -> None:
        clock.write_text("# theirs\n")

        with pytest.raises(LiftError, match=r"clock\.py"):
            lift_facade(project, update=True)

        assert clock.read_text() == "# theirs\n"
        assert not (project / PLACE / "later.py").exists()

    def test_by_force_it_is_written_over(self, project: Path, clock: Path) -> None:
        clock.write_text("# theirs\n")
        lift_facade(project, update=True, force=True)

        assert clock.read_text().endswith("# newer\n")

    def test_files_of_their_own_are_left_alone(self, project: Path) -> None:
        own = project / PLACE / "own.py"
        own.write_text("x = 1\n")
        lift_facade(project, update=True)

        assert own.read_text() == "x = 1\n"

    def test_the_manifest_tells_the_version(self, project: Path) -> None:
        lift_facade(project, update=True)

        assert json.loads((project / PLACE / MANIFEST).read_text())["version"]
