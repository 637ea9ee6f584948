"""Shows a tool call to the person who approves it: every argument exactly as it will be used, hidden characters escaped."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from backend.utils.llm.foreign import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST: Final = 2_000
"""The most characters of one argument that are shown."""
MOST_LINES: Final = 60
_HIDDEN: Final = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
"""What takes no room, or less than it says: a reader would take two texts for the same."""


class Line(NamedTuple):
    """One argument of a tool call, as a person is shown it before approving.

    Attributes:
        name: The path of the argument, such as ``items.0.owner``.
        text: The value, with every hidden character escaped.
        left_out: How many characters of the value are not shown.
        is_hiding: Whether the value has invisible characters.
    """

    name: str
    text: str
    left_out: int = 0
    is_hiding: bool = False


def escaped(text: str) -> str:
    """Escape line breaks and all other control and invisible characters of ``text``, so that a person sees them on one line."""
    plain = visible(text, keep="\t")
    return _HIDDEN.sub(lambda found: f"\\u{{{ord(found[0]):x}}}", plain).replace("\t", "\\t")


def argument_lines(arguments: str, *, whole: bool = False) -> list[Line]:
    """Convert the arguments of one call, as canonical JSON, to a line for each.

    If there are too many, a last line says how many were left out.

    Args:
        arguments: The arguments of one call.
        whole: Whether to show everything, whatever its length.
    """
    found = list(_lines(json.loads(arguments), "", None if whole else LONGEST))
    if not whole and len(found) > MOST_LINES:
        left_out = len(found) - MOST_LINES
        return [*found[:MOST_LINES], Line("…", f"{left_out} more arguments", left_out)]
    return found


def _lines(value: Any, name: str, longest: int | None) -> Iterator[Line]:
    match value:
        case dict() if value:
            for part, inner in value.items():
                yield from _lines(inner, f"{name}.{escaped(part)}" if name else escaped(part), longest)
        case list() if value:
            for place, inner in enumerate(value):
                yield from _lines(inner, f"{name}.{place}", longest)
        case str():
            yield _line(name, value, longest)
        case _:
            yield Line(name, json.dumps(value))


def _line(name: str, text: str, longest: int | None) -> Line:
    cut = text[:longest]
    hidden = any(unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Cn") for letter in cut) or bool(
        _HIDDEN.search(cut)
    )
    return Line(name, escaped(cut), len(text) - len(cut), hidden)
