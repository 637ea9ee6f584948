"""Cuts a title and an overview from what was said, without a model."""

from __future__ import annotations

import re
from collections import Counter
from heapq import nlargest
from math import sqrt
from typing import TYPE_CHECKING, Final, NamedTuple

from backend.conversations.words import (
    WORD,
    fold_case_and_accents,
    folded_word_set,
    is_meaningful_word,
    is_written_without_blanks,
    stem,
)

from .sentences import LEADING
from .topic import hints_at_category

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backend.conversations.categories import Category

    from .sentences import Sentence

TITLE, OVERVIEW = 80, 300
"""The most characters of a title, and of an overview."""
_WORDS_OF_TITLE: Final = range(2, 8)
_WORDS_OF_SENTENCE: Final = range(5, 32)
_PIECE: Final = re.compile(
    r"[,;:.!?…()\"“”–—。、，！？]+|\b(?:and|but|or|because|so|then|which|who|when|while|if|than|like|und|aber|oder|weil|dass|wenn|y|pero|porque|si|et|mais|ou|quand)\b"
    r"|(?<![’'\w])(?:I|you|he|she|we|they|it|that|there|what|this|ich|du|er|wir|es|yo|je|j|tu|il|elle|on|nous|vous|ça|c)(?:['’]\w+)?\b",
    re.IGNORECASE,
)
_TOKEN: Final = re.compile(r"\w+(?:['’]\w+)*")
"""A word with all that it is written with."""
_MOST_OFTEN: Final = 4
_TELLING: Final = 2.0
"""What a word counts that speaks for the conversation's category."""
_EARLY: Final = 0.3
"""What it counts to be said first: people name their subject early."""
_NAMED: Final = 1.3
"""What it counts to follow an article: it names something."""
_DETERMINERS: Final = folded_word_set(
    "the a an my our your their his her this these no der die das den dem ein eine einen mein meine unser unsere "
    "el la los las un una mi mis nuestro nuestra le les une des mon ma mes notre nos l d"
)
_QUESTION: Final = 0.7
_BLANKLESS_TITLE: Final = 24


class WordWeights:
    """How important each word of a conversation is for its title and overview.

    Frequent words, and words that are typical of the conversation's category, weigh more.
    """

    def __init__(self, sentences: Sequence[Sentence], category: Category) -> None:
        self._counts = Counter(stem(word) for sentence in sentences for word in _meant(sentence.text))
        self._category = category
        self._known: dict[str, float] = {}

    def weight_of(self, word: str) -> float:
        """Return the weight of ``word``, which must be in lower case without accents."""
        if (known := self._known.get(word)) is None:
            often = sqrt(min(self._counts[stem(word)], _MOST_OFTEN))
            known = self._known[word] = often * (_TELLING if hints_at_category(word, self._category) else 1.0)
        return known


class _Span(NamedTuple):
    score: float
    text: str


def choose_title(sentences: Sequence[Sentence], weights: WordWeights) -> str:
    """Choose as title the group of adjacent words with the highest weight."""
    if is_written_without_blanks(sentences[0].text):
        return _cut(max((sentence.text for sentence in sentences[:5]), key=len), _BLANKLESS_TITLE)
    spans = (
        span
        for place, sentence in enumerate(sentences)
        for span in _spans(sentence, weights, place / len(sentences))
    )
    best = max(spans, key=lambda span: span.score, default=None)
    return best.text if best else _cut(sentences[0].text, TITLE)


def choose_overview(sentences: Sequence[Sentence], weights: WordWeights) -> str:
    """Choose as overview the one or two sentences with the highest weight, in spoken order."""
    places = nlargest(
        4, range(len(sentences)), key=lambda place: _score(sentences[place], weights, place / len(sentences))
    )
    first = places[0]
    room = OVERVIEW - len(sentences[first].text) - 1
    second = next((place for place in places[1:] if len(sentences[place].text) <= room), first)
    return _cut(
        " ".join(LEADING.sub("", sentences[place].text) for place in sorted({first, second})), OVERVIEW
    )


def _score(sentence: Sentence, weights: WordWeights, place: float) -> float:
    words = set(_meant(sentence.text))
    length = len(sentence.text.split())
    fits = 1.0 if length in _WORDS_OF_SENTENCE else 0.3
    asks = _QUESTION if sentence.is_question else 1.0
    return sum(map(weights.weight_of, words)) / sqrt(4 + length) * fits * asks * (1 + _EARLY * (1 - place))


def _spans(sentence: Sentence, weights: WordWeights, place: float) -> Iterator[_Span]:
    """Runs of words that begin and end with a meaningful word, and do not split words that belong together."""
    early = 1 + _EARLY * (1 - place)
    for piece in _PIECE.split(sentence.text):
        tokens = list(_TOKEN.finditer(piece))
        words = [fold_case_and_accents(token.group()) for token in tokens]
        weighs = [weights.weight_of(word) if is_meaningful_word(word) else 0.0 for word in words]
        for start, end in _runs(weighs):
            text = piece[tokens[start].start() : tokens[end - 1].end()]
            named = _NAMED if start and words[start - 1] in _DETERMINERS else 1.0
            if len(text) <= TITLE and len(set(words[start:end])) > 1:
                yield _Span(sum(weighs[start:end]) / sqrt(4 + end - start) * named * early, text)


def _runs(weighs: Sequence[float]) -> Iterator[tuple[int, int]]:
    for start, weight in enumerate(weighs):
        if not weight or (start and weighs[start - 1]):
            continue
        for end in range(start + _WORDS_OF_TITLE.start, min(start + _WORDS_OF_TITLE.stop, len(weighs) + 1)):
            if weighs[end - 1] and (end == len(weighs) or not weighs[end]):
                yield start, end


def _meant(text: str) -> Iterator[str]:
    return (word for word in map(fold_case_and_accents, WORD.findall(text)) if is_meaningful_word(word))


def _cut(text: str, most: int) -> str:
    """``text``, at most ``most`` characters long, cut between words if it has blanks."""
    if len(text) <= most:
        return text
    end = text.rfind(" ", 0, most + 1)
    return text[: end if end > 0 else most].rstrip(" ,;:-–")
