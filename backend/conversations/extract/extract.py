"""Extracts title, overview, category and promises from a transcript without a model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .gist import Weights, overview_of, title_of
from .languages import language_of
from .promises import promises
from .sentences import sentences
from .topic import category_of, words_in

if TYPE_CHECKING:
    from backend.conversations.categories import Category
    from backend.conversations.transcript import Transcript

    from .promises import Promise
    from .sentences import Sentence

_MOST_PROMISES = 5
_MOST_SENTENCES = 4_000
"""Of a longer recording, the middle is left out: five hours of talk are read in half a second."""


@dataclass(frozen=True, slots=True)
class Extract:
    """Title, overview, category and promised tasks of a transcript. All text but the category is quoted from it."""

    title: str
    overview: str
    category: Category
    promises: tuple[Promise, ...]


def extract(transcript: Transcript) -> Extract | None:
    """Extract title, overview, category and promises without a model; None if nothing was said.

    A long transcript is abridged first. Takes some milliseconds a page.
    """
    spoken = _head_and_tail(tuple(sentences(transcript.abridged())))
    if not spoken:
        return None
    speakers = tuple(dict.fromkeys(sentence.speaker for sentence in spoken))
    counts = Counter(word for sentence in spoken for word in words_in(sentence.text))
    language = language_of(transcript.language, frozenset(counts))
    category = category_of(counts + Counter(word for speaker in speakers for word in words_in(speaker)))
    weights = Weights(spoken, category)
    taken_on = _at_most_five(tuple(promises(spoken, speakers, language)))
    return Extract(
        title=title_of(_without(spoken, taken_on), weights),
        overview=overview_of(spoken, weights),
        category=category,
        promises=taken_on,
    )


def _without(spoken: tuple[Sentence, ...], taken_on: tuple[Promise, ...]) -> tuple[Sentence, ...]:
    """The sentences without promises, which make no title; all of them if there are no others."""
    left = tuple(
        sentence for sentence in spoken if not any(promise.what in sentence.text for promise in taken_on)
    )
    return left or spoken


def _head_and_tail(spoken: tuple[Sentence, ...]) -> tuple[Sentence, ...]:
    if len(spoken) <= _MOST_SENTENCES:
        return spoken
    return spoken[: _MOST_SENTENCES // 2] + spoken[-_MOST_SENTENCES // 2 :]


def _at_most_five(found: tuple[Promise, ...]) -> tuple[Promise, ...]:
    """The first promises, in order; mere duties are dropped before them."""
    kept = sorted(range(len(found)), key=lambda place: (found[place].is_duty, place))[:_MOST_PROMISES]
    return tuple(found[place] for place in sorted(kept))
