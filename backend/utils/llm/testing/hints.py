"""Values for tool arguments, found in the prompt: its numbers, quotations and names."""

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


class Hints:
    """The numbers, quotations and names in a prompt, offered in order as arguments of tools; each is returned once.

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

    def number(self, fits: Callable[[float], bool]) -> float | None:
        """Take the next number for which ``fits`` is true; None if there is none."""
        return _take(self._numbers, fits)

    def text(self, fits: Callable[[str], bool]) -> str | None:
        """Take the next quotation, name or word for which ``fits`` is true; None if there is none."""
        return _take(self._texts, fits)


def quotations(text: str) -> tuple[str, ...]:
    """The texts between quotation marks, in order."""
    return tuple("".join(groups) for groups in _QUOTATION.findall(text))


def _take(offers: deque[T], fits: Callable[[T], bool]) -> T | None:
    for offer in offers:
        if fits(offer):
            offers.remove(offer)
            return offer
    return None
