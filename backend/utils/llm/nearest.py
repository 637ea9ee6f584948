"""Known words that are like one that is not known: somebody may have meant one of them."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST: Final = 200
"""Characters of a name. To compare a longer one takes its time, and it is like none."""


def nearest(word: str, known: Iterable[str], most: int = 3) -> tuple[str, ...]:
    """The words of ``known`` that are most like ``word``, best first; none if ``word`` is longer than a name."""
    return tuple(get_close_matches(word, list(known), n=most)) if len(word) <= LONGEST else ()
