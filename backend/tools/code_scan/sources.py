"""Finds the files of a code base to scan."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_SKIPPED = frozenset(
    {"__pycache__", "build", "dist", "node_modules", "site-packages", "test", "tests", "vendor"}
)
"""Folders of other people's code, of what is made from code, and of tests."""
_OTHERS = {"LIFTED.json", "pyvenv.cfg"}
"""Files in a copy of the facade, and in a virtual environment."""
_LARGEST = 1_000_000
"""Bytes of a file that is read."""
_CONFIGS = {".toml", ".yaml", ".yml"}
_MARKS = (b"model_list", b"[functions.", b"[models.", b"[embedding_models.")
"""What stands in any configuration that is known."""


class SourceFiles(NamedTuple):
    """The files of a code base that the scan reads, and those that it only reports. All paths are relative to it.

    Attributes:
        python: The Python files to read, by their paths.
        configs: The configuration files to read, by their paths.
        large: Files that are too large to be read.
        notebooks: Notebooks, which are not read.
    """

    python: dict[str, Path]
    configs: dict[str, Path]
    large: list[str]
    notebooks: list[str]


def find_source_files(folder: Path) -> SourceFiles:
    """Find the files below ``folder`` that the scan may read, sorted by name. Symbolic links are not followed."""
    found = SourceFiles({}, {}, [], [])
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".ipynb":
            found.notebooks.append(name)
        elif path.suffix == ".py" and not _is_test(path):
            _put(found, found.python, name, path)
        elif path.suffix in _CONFIGS and _may_be_config(path):
            _put(found, found.configs, name, path)
    return found


def _put(found: SourceFiles, files: dict[str, Path], name: str, path: Path) -> None:
    if path.stat().st_size > _LARGEST:
        found.large.append(name)
    else:
        files[name] = path


def _files(folder: Path) -> Iterator[Path]:
    for place, below, names in os.walk(folder):
        if _OTHERS & set(names):
            below.clear()
            continue
        below[:] = sorted(name for name in below if name not in _SKIPPED and not name.startswith("."))
        paths = (Path(place) / name for name in sorted(names))
        yield from (path for path in paths if path.is_file() and not path.is_symlink())


def _is_test(path: Path) -> bool:
    return path.name.startswith("test_") or path.stem.endswith("_test") or path.name == "conftest.py"


def _may_be_config(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST)
    except OSError:
        return False
    return any(mark in text for mark in _MARKS)
