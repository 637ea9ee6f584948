"""What the page for people who come from elsewhere shows is what the commands write, and runs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from backend.tools.code_scan import scan_code_base
from backend.utils.llm import use
from backend.utils.llm.testing import LoopbackProvider
from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "coming-from.md"
BLOCK = re.compile(
    r"^```(?:python|toml|yaml)\n# ([\w.]+), (before|after|as init writes it)\n(.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


class Move(NamedTuple):
    """A file as it was, the table that comes of it, and the code that is left."""

    name: str
    before: str
    table: str
    after: str


def moves() -> Iterator[Move]:
    found = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    for (name, was, before), (_, written, table), (_, now, after) in zip(
        found[::3], found[1::3], found[2::3], strict=True
    ):
        assert (was, written, now) == ("before", "as init writes it", "after")
        yield Move(name, before, table, after)


MOVES = {move.name: move for move in moves()}


def test_no_block_of_the_page_is_left_out() -> None:
    blocks = re.findall(r"^```(?:python|toml|yaml)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)

    assert len(blocks) == 3 * len(MOVES)
    assert set(MOVES) == {"notes.py", "config.yaml", "tensorzero.toml"}


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_the_table_is_what_is_written(move: Move, tmp_path: Path) -> None:
    # The page's first line says what the block is; in the file a comment stands there, too.
    (tmp_path / move.name).write_text(f"#\n{move.before}", encoding="utf-8")
    made = scan_code_base(tmp_path).table

    assert made is not None
    assert tomllib.loads(made) == tomllib.loads(move.table)


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_the_code_that_is_left_runs_on_that_table(move: Move, tmp_path: Path) -> None:
    table = tmp_path / "llm.toml"
    table.write_text(move.table, encoding="utf-8")
    with LoopbackProvider() as provider, use(loopback_patchbay(provider, table=table)) as patchbay:
        exec(compile(move.after, move.name, "exec", dont_inherit=True), {"__name__": "after"})  # noqa: S102 - our own page
        patchbay.close()

    assert len(provider.requests) == 1
