"""Copies the facade into another project, and updates the copy without losing that project's changes."""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from backend.utils.llm import packages
from backend.utils.llm.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FACADE: Final = Path(__file__).parents[1] / "utils" / "llm"
LOCK: Final = Path(__file__).parents[2] / "requirements.txt"
PLACE: Final = Path("utils/llm")
"""The place of the copy in the project, whose modules import it as ``utils.llm``."""
MANIFEST: Final = "LIFTED.json"
"""The copy's manifest: its version, and the original hash of each file."""
STARTER: Final = """# Which model serves which feature. `python -m backend check llm.toml` says what is wrong with it.
profile = "standard"

[providers.openai]
api = "openai"
api_key_env = "OPENAI_API_KEY"

[providers.anthropic]
api = "anthropic"
api_key_env = "ANTHROPIC_API_KEY"

[profiles.standard]
summary = ["openai:gpt-6-luna", "anthropic:claude-sonnet-5-5"]

[features.summary]
deadline = 60
"""
"""The first table of a project that has none."""
_STAYS_BEHIND: Final = frozenset({"__pycache__", "conversation_folder"})

State = Literal["added", "updated", "removed", "same", "yours", "conflict"]


class FileChange(NamedTuple):
    """What copying the facade does, or would do, to one file of the copy.

    Attributes:
        path: The path within the copy.
        state: ``added``, ``updated`` or ``removed``: the file becomes that of this version. ``same``: the
            file is equal already. ``yours``: changed in the project only, and kept. ``conflict``: changed in
            the project and in this version, and overwritten only with ``force``.
        old: The present content; None if there is no file.
        new: The content in this version; None if this version has no such file.
    """

    path: str
    state: State
    old: str | None
    new: str | None

    def to_unified_diff(self) -> Iterator[str]:
        """Yield the lines of a unified diff from ``old`` to ``new``."""
        before, after = (text.splitlines(keepends=True) if text else [] for text in (self.old, self.new))
        return difflib.unified_diff(before, after, f"a/{self.path}", f"b/{self.path}")


class LiftError(Exception):
    """The facade cannot be copied into the project. Nothing was written."""

    code = "cannot_lift"


def lift_facade(
    project: Path, *, update: bool = False, force: bool = False, dry_run: bool = False
) -> list[FileChange]:
    """Copy the facade, `backend.utils.llm`, into a project as ``utils.llm``, or update an earlier copy.

    Args:
        project: The project's root, from which its modules are imported. It also gets a first ``llm.toml``
            if it has none.
        update: Update an existing copy to this version.
        force: Overwrite files that were changed in the project and in this version.
        dry_run: Write nothing; only return the changes.

    Raises:
        LiftError: ``update`` is false and there is a copy, or is true and there is none, or files have conflicts.
    """
    place = project / PLACE
    if not project.is_dir():
        raise LiftError(f"There is no folder {project}.")
    if update and not (place / MANIFEST).is_file():
        raise LiftError(f"There is no copy in {place} that a lift made: lift without --update first.")
    if not update and place.exists():
        raise LiftError(f"{place} is there already: --update brings a copy to this version.")
    changes = list(_changes(place, _known(place) if update else {}))
    conflicts = [change.path for change in changes if change.state == "conflict"]
    if conflicts and not (force or dry_run):
        raise LiftError(
            f"Changed there as well as here: {', '.join(conflicts)}. --dry-run shows how; --force writes over them."
        )
    if not dry_run:
        _write(place, changes, force=force)
        if not (table := project / "llm.toml").exists():
            table.write_text(STARTER, encoding="utf-8")
    return changes


def list_facade_requirements() -> dict[str, list[str]]:
    """List the packages that a copy of the facade needs, by the name of the requirements file for them.

    Allowed releases begin with the tested one, and end before the next release that may be incompatible.
    """
    tested = _tested_versions()
    gemini = packages.OF_API["gemini"]
    base = {**packages.ALWAYS, **packages.OF_API["openai"], **packages.FOR_PRICES}
    return {
        "requirements.txt": sorted(_from(name, tested[name]) for name in base.values()),
        "requirements-gemini.txt": sorted(_from(name, tested[name]) for name in gemini.values()),
        "requirements-shared.txt": sorted(
            _from(name, tested[name]) for name in packages.FOR_STATE_SERVER.values()
        ),
    }


def _from(package: str, version: str) -> str:
    """The releases that should be compatible: up to the next release that may break something."""
    major, minor, *_ = version.split(".")
    limit = f"0.{int(minor) + 1}" if major == "0" else f"{int(major) + 1}"
    return f"{package}>={version},<{limit}"


def _tested_versions() -> dict[str, str]:
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    pins = (line.split(" ")[0].split("==") for line in lines if line[:1].isalpha() and "==" in line)
    return {name.partition("[")[0]: version for name, version in pins}


def _source() -> dict[str, str]:
    """The files of a copy, by their paths."""
    files = {
        path.as_posix(): (FACADE / path).read_text(encoding="utf-8")
        for path in sorted(found.relative_to(FACADE) for found in FACADE.rglob("*"))
        if path.suffix in {".py", ".typed"} and not _STAYS_BEHIND & set(path.parts)
    }
    return files | {name: "\n".join(lines) + "\n" for name, lines in list_facade_requirements().items()}


def _known(place: Path) -> Mapping[str, str]:
    """The hashes of the files as they were copied."""
    try:
        known = json.loads((place / MANIFEST).read_text(encoding="utf-8"))["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise LiftError(
            f"{place / MANIFEST} cannot be read: it tells which files were changed since."
        ) from error
    if not isinstance(known, dict):
        raise LiftError(f"{place / MANIFEST} names no files.")
    return known


def _changes(place: Path, known: Mapping[str, str]) -> Iterator[FileChange]:
    source = _source()
    for path in sorted({*source, *known}):
        there, new = place / path, source.get(path)
        old = there.read_text(encoding="utf-8", errors="replace") if there.is_file() else None
        yield FileChange(path, _state(old, new, known.get(path)), old, new)


def _state(old: str | None, new: str | None, came_with: str | None) -> State:
    if old == new:
        return "same"
    if old is None:
        return "added" if came_with is None or came_with != _hash(new) else "yours"
    if _hash(old) == came_with:
        return "updated" if new is not None else "removed"
    return "yours" if _hash(new) == came_with else "conflict"


def _hash(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()


def _write(place: Path, changes: list[FileChange], *, force: bool) -> None:
    written = {"added", "updated", "removed"} | ({"conflict"} if force else set())
    place.mkdir(parents=True, exist_ok=True)
    (place.parent / "__init__.py").touch()
    for change in changes:
        if change.state not in written:
            continue
        path = place / change.path
        if change.new is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(change.new, encoding="utf-8")
    files = {change.path: _hash(change.new) for change in changes if change.new is not None}
    manifest = {"version": VERSION, "files": files}
    (place / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
