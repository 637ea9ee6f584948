"""Known words that resemble an unknown one, for "did you mean" hints."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST: Final = 200
"""The longest name that is compared, in characters: comparing a longer one would be slow."""


def find_similar_words(word: str, known: Iterable[str], limit: int = 3) -> tuple[str, ...]:
    """Find up to ``limit`` words of ``known`` that resemble ``word``, best first.

    None are found if ``word`` is longer than `LONGEST`.
    """
    return tuple(get_close_matches(word, list(known), n=limit)) if len(word) <= LONGEST else ()
