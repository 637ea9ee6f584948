"""Formats tables, receipts, findings and capabilities for a terminal, with control characters escaped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.panel import Panel
from rich.table import Table as Grid
from rich.text import Text
from typing_extensions import override

from backend.utils.llm.foreign import escape_control_characters

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from rich.console import ConsoleOptions, RenderableType, RenderResult

    from backend.tools.lint import LintFinding
    from backend.utils.llm.models import Capabilities, ModelRetirement


_ENDLESS = 100_000
"""Columns."""
_PANEL = 100
"""Columns of a panel at most: it is for people, also in a log."""
_NARROW = 12
"""Columns of a screen for each of a table's, below which nobody could read it."""
_BETWEEN = 2
"""Columns between two of a table's."""


class EscapingConsole(Console):
    """A Rich console that escapes control characters, except line breaks and tabs.

    If the output is a pipe or a file, lines are not wrapped: a table is as wide as its content.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if "width" not in options and not self.file.isatty():  # colours may be forced there
            self.width = _ENDLESS

    def print_panel(self, text: RenderableType, title: str) -> None:
        """Print ``text`` in a frame."""
        self.print(Panel(text, title=title, width=min(self.width, _PANEL)))

    @override
    def render_str(self, text: str, **options: Any) -> Text:
        """Escape the control characters of ``text``. Rich calls this for each line and each cell of a table."""
        return super().render_str(escape_control_characters(text, keep="\n\t"), **options)


class TextTable(NamedTuple):
    """A table to print on a terminal. Cells that are too wide for the terminal are wrapped.

    On a very narrow terminal each cell is printed on a line of its own, after the title of its column.

    Attributes:
        heads: The titles of the columns.
        rows: The cells of each row, as plain text.
        right: The indexes, from 0, of the columns that are right-aligned.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Collection[int] = ()

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """Rich's protocol."""
        room = options.max_width
        is_narrow = self._width() > room and room < _NARROW * len(self.heads)
        yield self._list() if is_narrow else self._table()

    def _width(self) -> int:
        columns = zip(self.heads, *self.rows, strict=True)
        return sum(max(map(cell_len, column)) + _BETWEEN for column in columns) - _BETWEEN

    def _table(self) -> Grid:
        grid = Grid(box=None, pad_edge=False)
        for number, head in enumerate(self.heads):
            grid.add_column(head, overflow="fold", justify="right" if number in self.right else "left")
        for row in self.rows:
            grid.add_row(*map(_plain, row))
        return grid

    def _list(self) -> Text:
        wide = max(map(cell_len, self.heads))
        found = [
            "\n".join(f"{head:<{wide}}  {cell}" for head, cell in zip(self.heads, row, strict=True) if cell)
            for row in self.rows
        ]
        return _plain("\n\n".join(found))


def _plain(cell: str) -> Text:
    return Text(escape_control_characters(cell, keep="\n\t"))


def format_json(value: Any) -> str:
    """Format ``value`` as indented JSON that contains only printable ASCII characters."""
    return json.dumps(value, indent=2).replace("\x7f", "\\u007f")


def format_receipt(receipt: dict[str, Any]) -> str:
    """Format a call's receipt as one line: feature, endpoint, model, key owner, tokens, time, cost, attempts."""
    attempts = receipt["attempts"]
    usage = attempts[-1]["usage"] or {}
    cost = receipt["cost_usd"]
    return "  ".join(
        [
            f"{receipt['feature']} <- {receipt['endpoint']}",
            f"served by {receipt['served_model'] or 'a model that it does not name'}",
            f"{receipt['key_owner']}'s key",
            f"{usage.get('input', '?')} -> {usage.get('output', '?')} tokens",
            f"{sum(attempt['duration_ms'] for attempt in attempts):.0f} ms",
            "cost unknown" if cost is None else f"${cost}",
            f"{len(attempts)} attempt{'s' * (len(attempts) != 1)}",
        ]
    )


def format_lint_finding(finding: LintFinding, *, fails: bool) -> str:
    """Format a check's finding as one line. It begins with "problem" if it ``fails`` the check, else "warning"."""
    return f"{'problem' if fails else 'warning'}  {finding.says}"


def format_capabilities(
    model: str, capabilities: Capabilities, sources: Mapping[str, str], retirement: ModelRetirement | None
) -> list[str]:
    """Describe a model in lines for the terminal: its name, each capability, and its retirement.

    Args:
        model: The name to print.
        capabilities: The capabilities of the model.
        sources: Where the value of each capability comes from, such as the table, by the name of the
            capability.
        retirement: The retirement of the model; None if no date was announced.
    """
    lines = [model]
    lines += [f"  {name:<18}{_word(value):<33} {sources[name]}" for name, value in capabilities]
    if retirement is None:
        return [*lines, f"  {'off sale':<18}no date announced"]
    successor = f", then {retirement.replacement}" if retirement.replacement else ""
    return [*lines, f"  {'off sale':<18}{f'{retirement.day}{successor}':<34}{retirement.source}"]


def _word(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case None | ():
            return "-"
        case tuple():
            return " ".join(map(str, value))
        case _:
            return str(value)
