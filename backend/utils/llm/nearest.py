"""Known words that resemble an unknown one, for "did you mean" hints."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST: Final = 200
"""The longest name that is compared, in characters: comparing a longer one would be slow."""


def nearest(word: str, known: Iterable[str], most: int = 3) -> tuple[str, ...]:
    """The words of ``known`` most similar to ``word``, best first; none if ``word`` is longer than `LONGEST`."""
    return tuple(get_close_matches(word, list(known), n=most)) if len(word) <= LONGEST else ()
