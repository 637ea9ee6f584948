"""Extracts title, overview, category and promises from a transcript without a model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .gist import WordWeights, choose_overview, choose_title
from .languages import choose_language
from .promises import find_promises
from .sentences import split_into_sentences
from .topic import choose_category, split_into_folded_words

if TYPE_CHECKING:
    from backend.conversations.categories import Category
    from backend.conversations.transcript import Transcript

    from .promises import PromisedTask
    from .sentences import Sentence

_MOST_PROMISES = 5
_MOST_SENTENCES = 4_000
"""Of a longer recording, the middle is left out: five hours of talk are read in half a second."""


@dataclass(frozen=True, slots=True)
class ExtractedSummary:
    """The title, overview, category and promised tasks of a transcript, found without a model.

    All text except the category's name is quoted from the transcript.
    """

    title: str
    overview: str
    category: Category
    promises: tuple[PromisedTask, ...]


def extract_summary(transcript: Transcript) -> ExtractedSummary | None:
    """Extract title, overview, category and promised tasks without a model; None if nothing was said.

    The middle of a very long transcript is ignored. Takes some milliseconds per page.
    """
    spoken = _head_and_tail(tuple(split_into_sentences(transcript.abridge())))
    if not spoken:
        return None
    speakers = tuple(dict.fromkeys(sentence.speaker for sentence in spoken))
    counts = Counter(word for sentence in spoken for word in split_into_folded_words(sentence.text))
    language = choose_language(transcript.language, frozenset(counts))
    category = choose_category(
        counts + Counter(word for speaker in speakers for word in split_into_folded_words(speaker))
    )
    weights = WordWeights(spoken, category)
    taken_on = _at_most_five(tuple(find_promises(spoken, speakers, language)))
    return ExtractedSummary(
        title=choose_title(_without(spoken, taken_on), weights),
        overview=choose_overview(spoken, weights),
        category=category,
        promises=taken_on,
    )


def _without(spoken: tuple[Sentence, ...], taken_on: tuple[PromisedTask, ...]) -> tuple[Sentence, ...]:
    """The sentences without promises, which make no title; all of them if there are no others."""
    left = tuple(
        sentence for sentence in spoken if not any(promise.what in sentence.text for promise in taken_on)
    )
    return left or spoken


def _head_and_tail(spoken: tuple[Sentence, ...]) -> tuple[Sentence, ...]:
    if len(spoken) <= _MOST_SENTENCES:
        return spoken
    return spoken[: _MOST_SENTENCES // 2] + spoken[-_MOST_SENTENCES // 2 :]


def _at_most_five(found: tuple[PromisedTask, ...]) -> tuple[PromisedTask, ...]:
    """The first promises, in order; mere duties are dropped before them."""
    kept = sorted(range(len(found)), key=lambda place: (found[place].is_duty, place))[:_MOST_PROMISES]
    return tuple(found[place] for place in sorted(kept))
