"""Finds the category of a conversation by its words."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Final

from backend.conversations.categories import Category
from backend.conversations.words import WORD, fold_case_and_accents

from .lexicon import HINTS, TELLING

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Mapping

Weights = dict[str, dict[Category, float]]

ENOUGH: Final = 2.0
"""The least score of a category: one telling word, or two hints."""
_MOST_OFTEN: Final = 4
_SHORTEST_STEM: Final = 2


def _lines() -> Iterator[tuple[str, Category, float]]:
    for weight, lexicon in ((1.0, HINTS), (2.0, TELLING)):
        for category, line in lexicon.items():
            yield from ((fold_case_and_accents(entry), category, weight) for entry in line.split())


def _weights() -> tuple[Weights, Weights]:
    """The weights of whole words, and of prefixes (entries with ``*``). `TELLING` overrides `HINTS`."""
    whole: Weights = {}
    prefixes: Weights = {}
    for entry, category, weight in _lines():
        table = prefixes if entry.endswith("*") else whole
        table.setdefault(entry.rstrip("*"), {})[category] = weight
    return whole, prefixes


_WHOLE, _PREFIXES = _weights()


def choose_category(word_counts: Counter[str]) -> Category:
    """Choose the category whose typical words were said most; `OTHER` if no category's score reaches `ENOUGH`.

    Args:
        word_counts: How often each word was said. The words must be in lower case without accents.
    """
    scores = dict.fromkeys(Category, 0.0)
    for word, count in word_counts.items():
        for category, weight in _weighed(word).items():
            scores[category] += weight * sqrt(min(count, _MOST_OFTEN))
    best = max(scores, key=scores.__getitem__)
    return best if scores[best] >= ENOUGH else Category.OTHER


def hints_at_category(word: str, category: Category) -> bool:
    """Whether ``word`` is typical of ``category``, according to the lexicon.

    ``word`` must be in lower case without accents.
    """
    return category in _weighed(word)


def _weighed(word: str) -> Mapping[Category, float]:
    if (found := _WHOLE.get(word)) is not None:
        return found
    stem = word.partition("'")[0]
    ends = range(len(stem), _SHORTEST_STEM, -1)
    return next((_PREFIXES[stem[:end]] for end in ends if stem[:end] in _PREFIXES), {})


def split_into_folded_words(text: str) -> Iterator[str]:
    """Yield the words of ``text`` in order, in lower case without accents."""
    return iter(WORD.findall(fold_case_and_accents(text).replace("’", "'")))
