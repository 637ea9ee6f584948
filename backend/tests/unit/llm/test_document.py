"""Whatever stands where a table should be, it is told as a fault of the table, and nothing is waited for."""

from __future__ import annotations

import os
import socket
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.utils.llm import Table
from backend.utils.llm.errors import ConfigError
from backend.utils.llm.model_config import parse_table
from backend.utils.llm.model_config.document import DEEPEST, INTEGERS, LARGEST, parse_toml, read_table_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GOOD = """
profile = "premium"
byok_profile = "premium"
[providers.openai]
api = "openai"
api_key_env = "OPENAI_API_KEY"
[features.greet]
[profiles.premium]
greet = "openai:gpt-6-luna"
"""

TEXTS = {
    "an integer that Python does not convert": "deadline = " + "9" * 5_000,
    "an integer that Python does not print": "deadline = 0x" + "f" * 5_000,
    "an integer that no float holds": "deadline = " + "9" * 400,
    "lists in lists": "deadline = " + "[" * 3_000 + "]" * 3_000,
    "tables in tables": "deadline = " + "{a=" * 3_000 + "1" + "}" * 3_000,
    "a key of many parts": "deadline" + ".a" * 3_000 + " = 1",
    "a header of many parts": "[features.greet" + ".a" * 3_000 + "]\nb = 1",
    "no TOML": "{[",
}


def fifo(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


FILES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda _: None,
    "a folder": Path.mkdir,
    "a pipe": fifo,
    "a socket": listening,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "bytes": lambda path: path.write_bytes(b"\xff\xfe"),
    "too much": lambda path: path.write_bytes(b"#" * (LARGEST + 1)),
    **{
        name: partial(Path.write_text, data=f"{GOOD}[features.other]\n{text}") for name, text in TEXTS.items()
    },
}

faulty = pytest.mark.parametrize("spoil", FILES.values(), ids=FILES.keys())


@pytest.fixture
def path() -> Iterator[Path]:
    """Short enough for the name of a socket."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "llm.toml"


@faulty
def test_it_is_a_fault_of_the_table_with_its_path_when_it_is_read_first(
    spoil: Callable[[Path], object], path: Path
) -> None:
    spoil(path)

    with pytest.raises(ConfigError) as caught:
        Table(path, environ={})

    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 2_000


@faulty
def test_it_leaves_the_last_good_table_in_force(spoil: Callable[[Path], object], path: Path) -> None:
    path.write_text(GOOD)
    table = Table(path, environ={})
    good = table.snapshot
    path.unlink()
    spoil(path)

    assert not table.reload_if_changed()

    assert (table.snapshot, bool(table.problems)) == (good, True)
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.write_text(GOOD.replace("luna", "astra"))
    assert table.reload_if_changed()
    assert table.problems == ()


def test_a_table_may_be_as_large_as_its_bound(path: Path) -> None:
    path.write_bytes(b"#" * LARGEST)

    assert len(read_table_file(path)) == LARGEST


@pytest.mark.parametrize("deep", [DEEPEST, DEEPEST + 1])
def test_a_document_has_so_many_levels_and_no_more(deep: int) -> None:
    text = "a = " + "[" * (deep - 1) + "1" + "]" * (deep - 1)

    if deep <= DEEPEST:
        assert parse_toml(text)
    else:
        with pytest.raises(ConfigError, match="deep"):
            parse_toml(text)


@given(st.integers())
def test_integers_are_those_of_toml(number: int) -> None:
    if number in INTEGERS:
        assert parse_toml(f"a.b = {number}") == {"a": {"b": number}}
    else:
        with pytest.raises(ConfigError, match=r"a\.b: .* 64 bits"):
            parse_toml(f"a.b = {number}")


def test_a_file_that_is_saved_with_its_old_size_and_time_is_seen(path: Path) -> None:
    path.write_text(GOOD)
    table = Table(path, environ={})
    old = path.stat()

    path.write_text(GOOD.replace("luna", "lune"))
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))

    assert table.reload_if_changed()


@given(st.text(alphabet="abf.=[]{}\"'\n#0123-:TZ ,_", max_size=200))
def test_no_text_makes_anything_but_a_table_or_its_faults(text: str) -> None:
    with suppress(ConfigError):
        parse_table(GOOD + text, environ={})
