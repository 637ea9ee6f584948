"""Formats receipts, findings and capabilities for a terminal, with control characters escaped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.panel import Panel
from typing_extensions import override

from backend.utils.llm.foreign import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType
    from rich.text import Text

    from backend.utils.llm.diagnostics.lint import Finding
    from backend.utils.llm.models import Capabilities, Retirement


_ENDLESS = 100_000
"""Columns."""
_PANEL = 100
"""Columns of a panel at most: it is for people, also in a log."""


class Terminal(Console):
    """A console that escapes the control characters of a text, but for line breaks and tabs.

    What goes to a pipe or a file is not cut: a table is as wide there as what it holds.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if not self.is_terminal:
            self.width = _ENDLESS

    def print_panel(self, text: RenderableType, title: str) -> None:
        """Print ``text`` in a frame."""
        self.print(Panel(text, title=title, width=min(self.width, _PANEL)))

    @override
    def render_str(self, text: str, **options: Any) -> Text:
        """``text`` of a line or a table's cell, escaped."""
        return super().render_str(visible(text, keep="\n\t"), **options)


def json_text(value: Any) -> str:
    """``value`` as indented JSON in printable ASCII."""
    return json.dumps(value, indent=2).replace("\x7f", "\\u007f")


def receipt_line(receipt: dict[str, Any]) -> str:
    """One line: the feature, who served it with whose key, tokens in and out, time, cost, attempts."""
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


def finding_line(finding: Finding, *, fails: bool) -> str:
    """``finding`` after the word "problem" if it ``fails`` the check, else after "warning"."""
    return f"{'problem' if fails else 'warning'}  {finding.says}"


def capability_lines(
    model: str, can: Capabilities, sources: Mapping[str, str], gone: Retirement | None
) -> list[str]:
    """A line for each capability of ``model``, with its source, and one for its retirement."""
    lines = [model]
    lines += [f"  {name:<18}{_word(value):<33} {sources[name]}" for name, value in can]
    if gone is None:
        return [*lines, f"  {'off sale':<18}no date announced"]
    successor = f", then {gone.replacement}" if gone.replacement else ""
    return [*lines, f"  {'off sale':<18}{f'{gone.day}{successor}':<34}{gone.source}"]


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
