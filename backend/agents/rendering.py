"""Renders a tool call for the person who approves it: values as they are used, hidden characters escaped.

Long values are cut, and the number of characters left out is told, unless all is asked for.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from backend.utils.llm.foreign import escape_control_characters

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST: Final = 2_000
"""The most characters of one argument that are shown."""
MOST_LINES: Final = 60
_HIDDEN: Final = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
"""What takes no room, or less than it says: a reader would take two texts for the same."""


class ArgumentLine(NamedTuple):
    """One value in the arguments of a tool call, as a person sees it before approving.

    Attributes:
        name: The path of the value, such as ``items.0.owner``.
        text: The value. Hidden characters are escaped.
        left_out: How many characters of the value are not shown.
        is_hiding: Whether the value contains invisible characters.
    """

    name: str
    text: str
    left_out: int = 0
    is_hiding: bool = False


def escape_to_one_line(text: str) -> str:
    """Escape line breaks, control characters and invisible characters in ``text``, so that it fits on one line."""
    plain = escape_control_characters(text, keep="\t")
    return _HIDDEN.sub(lambda found: f"\\u{{{ord(found[0]):x}}}", plain).replace("\t", "\\t")


def render_argument_lines(arguments: str, *, untruncated: bool = False) -> list[ArgumentLine]:
    """Convert the arguments of a tool call to lines to show to a person, one for each value.

    If there are too many lines, the last one says how many are left out. With ``untruncated``, all lines and
    all values are shown completely.
    """
    found = list(_lines(json.loads(arguments), "", None if untruncated else LONGEST))
    if not untruncated and len(found) > MOST_LINES:
        left_out = len(found) - MOST_LINES
        return [*found[:MOST_LINES], ArgumentLine("…", f"{left_out} more arguments", left_out)]
    return found


def _lines(value: Any, name: str, longest: int | None) -> Iterator[ArgumentLine]:
    match value:
        case dict() if value:
            for part, inner in value.items():
                yield from _lines(
                    inner, f"{name}.{escape_to_one_line(part)}" if name else escape_to_one_line(part), longest
                )
        case list() if value:
            for place, inner in enumerate(value):
                yield from _lines(inner, f"{name}.{place}", longest)
        case str():
            yield _line(name, value, longest)
        case _:
            yield ArgumentLine(name, json.dumps(value))


def _line(name: str, text: str, longest: int | None) -> ArgumentLine:
    cut = text[:longest]
    hidden = any(unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Cn") for letter in cut) or bool(
        _HIDDEN.search(cut)
    )
    return ArgumentLine(name, escape_to_one_line(cut), len(text) - len(cut), hidden)
