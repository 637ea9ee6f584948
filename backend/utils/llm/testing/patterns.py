"""Makes a short text that matches a regular expression, for the simple expressions that JSON schemas have.

Supported are literals, escapes, classes, groups, alternatives (the first is taken), anchors and
quantifiers.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

_CANDIDATES = f"a0A{string.ascii_lowercase}{string.digits}{string.ascii_uppercase}-_.:/ {string.punctuation}"
_OPEN_ENDED = {"*": 0, "+": 1}
_LONGEST_REPEAT = 64
_QUANTIFIER = re.compile(r"\{(\d+)(,?)(\d*)\}|[*+?]")
_GROUP_OPENING = re.compile(r"\((?:\?(?::|P<\w+>|<\w+>))?")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]")
_LOOKAROUND = re.compile(r"\(\?<?[=!]")


def make_matching_text(pattern: str, *, min_length: int = 0, max_length: int | None = None) -> str | None:
    """Make a text of the given length that matches the regular expression ``pattern``.

    Returns:
        None if the pattern uses features that are not supported, or no text of that length was found.
    """
    for repeats in range(max(1, min(min_length, _LONGEST_REPEAT)) + 1):
        try:
            text = _Reader(pattern, repeats).alternatives()
        except (ValueError, re.error):
            return None
        text = text if len(text) >= min_length or pattern.endswith("$") else text.ljust(min_length, "a")
        fits = min_length <= len(text) and (max_length is None or len(text) <= max_length)
        if fits and re.search(pattern, text):
            return text
    return None


@dataclass
class _Reader:
    """Reads a pattern from left to right and writes a text that matches.

    Attributes:
        repeats: How often to repeat where the pattern sets no upper limit, or a higher one.
    """

    pattern: str
    repeats: int
    position: int = 0

    def alternatives(self) -> str:
        first = self._sequence()
        while self._peek() == "|":
            self.position += 1
            self._sequence()
        return first

    def _sequence(self) -> str:
        written = ""
        while self._peek() not in {"", "|", ")"}:
            atom = self._atom()
            written += atom * self._times()
        return written

    def _atom(self) -> str:
        head = self._peek()
        if head in "^$":
            return self._take(1, "")
        if head == "(":
            return self._group()
        if head == "[":
            return _first_match(self._match(_CLASS))
        if head == "\\":
            source = self.pattern[self.position : self.position + 2]
            self.position += 2
            return "" if source in {r"\b", r"\B", r"\A", r"\Z"} else _first_match(source)
        return self._take(1, _first_match(".") if head == "." else head)

    def _group(self) -> str:
        if _LOOKAROUND.match(self.pattern, self.position):
            raise ValueError("lookarounds are beyond this sampler")
        self._match(_GROUP_OPENING)
        written = self.alternatives()
        if self._peek() != ")":
            raise ValueError("unbalanced group")
        return self._take(1, written)

    def _times(self) -> int:
        found = _QUANTIFIER.match(self.pattern, self.position)
        if found is None:
            return 1
        self.position = found.end()
        if self._peek() == "?":
            self.position += 1
        if found[0] in _OPEN_ENDED:
            return max(self.repeats, _OPEN_ENDED[found[0]])
        if found[0] == "?":
            return min(self.repeats, 1)
        least = int(found[1])
        most = int(found[3]) if found[3] else (self.repeats if found[2] else least)
        return max(least, min(self.repeats, most))

    def _match(self, expression: re.Pattern[str]) -> str:
        found = expression.match(self.pattern, self.position)
        if found is None:
            raise ValueError("not understood")
        self.position = found.end()
        return found[0]

    def _peek(self) -> str:
        return self.pattern[self.position : self.position + 1]

    def _take(self, length: int, written: str) -> str:
        self.position += length
        return written


def _first_match(source: str) -> str:
    for candidate in _CANDIDATES:
        if re.fullmatch(source, candidate):
            return candidate
    raise ValueError("no plain character fits")
