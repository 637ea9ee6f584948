"""Nothing acts on a terminal that is printed there, wherever in a picture it stands."""

from __future__ import annotations

import io
import json
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table as Grid

from backend.printing import EscapingConsole, TextTable, format_json
from backend.serve import _print_conversation

if TYPE_CHECKING:
    from collections.abc import Iterator

ACTS = "\x1b]0;title\x07\x1b]52;c;cm0gLXJmIH4=\x07\x1b[2J\x9b31m\u202e\ud800red"
SHOWN = r"\x1b]0;title\x07\x1b]52;c;cm0gLXJmIH4=\x07\x1b[2J\x9b31m\u202e\ud800red"


@pytest.fixture
def written() -> StringIO:
    return StringIO()


@pytest.fixture
def terminal(written: StringIO) -> EscapingConsole:
    return EscapingConsole(
        file=written, force_terminal=True, color_system="standard", width=200, highlight=False, emoji=False
    )


def pictures() -> Iterator[Any]:
    grid = Grid("who", title=escape(ACTS))
    grid.add_row(escape(ACTS))
    yield from (escape(ACTS), grid, Panel(escape(ACTS)))


@pytest.mark.parametrize("picture", [*pictures()], ids=["text", "grid", "panel"])
def test_whatever_it_is_printed_in(terminal: EscapingConsole, written: StringIO, picture: Any) -> None:
    terminal.print(picture)

    assert SHOWN in written.getvalue()
    assert not set("\x07\x9b\u202e\ud800") & set(written.getvalue())
    assert "\x1b]" not in written.getvalue()
    assert "\x1b[2J" not in written.getvalue()


def test_its_own_styles_are_its_own(terminal: EscapingConsole, written: StringIO) -> None:
    terminal.print(f"[b]{escape(ACTS)}[/b]")

    assert written.getvalue() == f"\x1b[1m{SHOWN}\x1b[0m\n"


def test_pieces_of_one_sequence_are_as_harmless(terminal: EscapingConsole, written: StringIO) -> None:
    for piece in ACTS:
        terminal.print(piece, end="", markup=False)

    assert written.getvalue() == SHOWN


def test_a_conversation_of_the_sample(monkeypatch: pytest.MonkeyPatch, written: StringIO) -> None:
    monkeypatch.setattr("backend.serve.out", EscapingConsole(file=written, width=200, emoji=False))
    told = {
        "title": ACTS,
        "category": ACTS,
        "overview": f"{ACTS}\nb",
        "action_items": [{"owner": ACTS, "description": ACTS}],
    }

    _print_conversation(
        {**told, "folder": {"folder_id": ACTS}, "errors": {"f": ACTS}, "made_by": {}, "receipts": {}}
    )

    assert written.getvalue().count(SHOWN) == 7
    assert not set("\x1b\x07\x9b\u202e") & set(written.getvalue())


def test_json_is_in_letters_that_every_terminal_takes() -> None:
    text = format_json({ACTS: f"{ACTS}\x7fGrüße"})

    assert set(text) <= {"\n", *map(chr, range(0x20, 0x7F))}
    assert json.loads(text) == {ACTS: f"{ACTS}\x7fGrüße"}


def test_a_panel_in_a_pipe_is_as_wide_as_a_page() -> None:
    written = io.StringIO()
    EscapingConsole(file=written).print_panel("word " * 100, "title")

    lines = written.getvalue().splitlines()
    assert max(map(len, lines)) == 100
    assert sum(line.count("word") for line in lines) == 100


CELLS = TextTable(("feature", "runs on", "left"), [("conv_folder", "gemini:gemini-3.5-flash-lite", "7")], {2})


def shown(width: int) -> str:
    terminal = EscapingConsole(file=(written := StringIO()), force_terminal=True, no_color=True, width=width)
    terminal.print(CELLS)
    return written.getvalue()


def test_a_table_is_as_wide_as_it_is_where_there_is_room() -> None:
    assert shown(80).splitlines()[1] == "conv_folder  gemini:gemini-3.5-flash-lite     7"


@pytest.mark.parametrize("width", range(36, 49))
def test_a_table_folds_on_a_screen_that_is_narrow(width: int) -> None:
    lines = shown(width).splitlines()

    assert all(len(line.replace("\x1b[1m", "").replace("\x1b[0m", "")) <= width for line in lines)
    assert "".join(line[12:].strip().removesuffix("7").strip() for line in lines[1:]).endswith("flash-lite")
    assert "…" not in shown(width)


def test_a_table_is_a_list_on_a_screen_that_is_narrower_still() -> None:
    assert shown(34) == "feature  conv_folder\nruns on  \ngemini:gemini-3.5-flash-lite\nleft     7\n"


def test_what_goes_to_a_pipe_is_not_cut_where_colours_are_forced_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    terminal = EscapingConsole(file=(written := StringIO()))

    terminal.print(CELLS)

    assert "\x1b[1mfeature" in written.getvalue()
    assert "gemini:gemini-3.5-flash-lite" in written.getvalue()


def test_a_cell_that_acts_on_a_terminal_does_not() -> None:
    terminal = EscapingConsole(file=(written := StringIO()))

    terminal.print(TextTable(("who",), [(ACTS,)]))

    assert SHOWN in written.getvalue()
