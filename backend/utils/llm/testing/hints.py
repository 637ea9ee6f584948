"""Finds values for tool arguments in a prompt: its numbers, quotations and names."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w])")
_QUOTATION = re.compile(r"(?<!\w)'([^'\n]+)'(?!\w)|\"([^\"\n]+)\"|[“„«]([^”“»\n]+)[”“»]|`([^`\n]+)`")
_NAME = re.compile(r"(?<=\w[ ,(])[ (]?([A-Z]\w+(?:,? [A-Z]\w*)*)")
T = TypeVar("T")

_WORD = re.compile(r"[^\W\d_]{4,}")


class PromptHints:
    """Extracts numbers, quotations and names from a prompt, to be used as plausible arguments of tool calls.

    Each value is returned only once, in the order of the prompt.

    Args:
        text: The prompt; may be empty.
    """

    def __init__(self, text: str = "") -> None:
        self._numbers = deque(map(float, _NUMBER.findall(text)))
        quoted = ["".join(groups) for groups in _QUOTATION.findall(text)]
        spare = _WORD.findall(text)[-1:]
        self._texts = deque(dict.fromkeys([*quoted, *_NAME.findall(text), *spare]))

    def __bool__(self) -> bool:
        return bool(self._numbers or self._texts)

    def take_number(self, predicate: Callable[[float], bool]) -> float | None:
        """Remove and return the next number for which ``predicate`` is true, or None."""
        return _take(self._numbers, predicate)

    def take_text(self, predicate: Callable[[str], bool]) -> str | None:
        """Remove and return the next quotation, name or word for which ``predicate`` is true, or None."""
        return _take(self._texts, predicate)


def find_quotations(text: str) -> tuple[str, ...]:
    """Find all texts in quotation marks or backticks, in order, without the marks."""
    return tuple("".join(groups) for groups in _QUOTATION.findall(text))


def _take(offers: deque[T], fits: Callable[[T], bool]) -> T | None:
    for offer in offers:
        if fits(offer):
            offers.remove(offer)
            return offer
    return None
