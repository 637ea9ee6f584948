"""Checks whether a model's summary is supported by the transcript (grounded), to reject inventions.

It does not judge style. A paraphrase passes in any language, as long as it is the transcript's: owners speak or are
named, numbers, dates and names were said, and a share of the words stems from what was said. An error says what is
wrong
without quoting it, and goes back to the model for repair.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from .figures import CALENDAR, Figures
from .words import OF_TALK, STOPWORDS, WORD, folded, is_blankless, stem, terms, words_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .transcript import Transcript

SHARE: Final = 1 / 3
"""The least share of meaning words that must stem from the transcript. In good summaries it is about two thirds, in
terse ones one third; what is made up shares few or none."""

_TITLES: Final = words_of(
    "mr mrs ms dr prof sir madam herr frau señor señora sr sra don doña monsieur madame mme m the team"
)
_SENTENCE: Final = re.compile(r"[.!?…:;\"“„«(\n]\s*")
_CAPITAL: Final = re.compile(r"[^\W\d_][\w’'-]*")
_SHORTEST_NAME: Final = 3
_FEW: Final = 2
_OF_TALK: Final = frozenset(map(stem, OF_TALK))


class UngroundedError(ValueError):
    """A text is not supported by the transcript. The message names the field and the fault, and quotes nothing."""


@dataclass(frozen=True)
class Grounds:
    """The words, numbers and speakers of a transcript, against which a model's answer is checked.

    Attributes:
        text: The text that the model was shown.
        words: The words, folded (lower case, no accents), speakers included.
        terms: Stems of the meaningful words, by which texts are compared. See `terms`.
        figures: The numbers and dates.
        names_are_marked: Whether the language writes names, and not every noun, with a capital.
    """

    text: str
    words: frozenset[str]
    terms: frozenset[str]
    figures: Figures
    names_are_marked: bool

    @classmethod
    def of(cls, transcript: Transcript, shown: str) -> Grounds:
        """Collect what an answer is checked against.

        Args:
            transcript: What was said.
            shown: The part of the transcript, as text, that the model is shown, speakers included.
        """
        local = transcript.started_at.astimezone(ZoneInfo(transcript.time_zone))
        spoken = WORD.findall(folded(shown))
        words = frozenset(spoken).union(word.replace("’", "'").partition("'")[0] for word in spoken)
        german = (transcript.language or "").lower().startswith("de") or len(words & _GERMAN) > _FEW
        return cls(
            text=folded(shown),
            words=words,
            terms=frozenset(terms(shown)),
            figures=Figures.of(shown, local.date()),
            names_are_marked=not german and not is_blankless(shown),
        )

    def check_owner(self, place: str, owner: str) -> None:
        """Check that the owner of a task speaks in the transcript, or is named there.

        Args:
            place: The name of the checked field, for the error message.
            owner: The owner's name.

        Raises:
            UngroundedError: ``owner`` neither speaks nor is named.
        """
        parts = [
            word for word in WORD.findall(folded(owner)) if word not in _TITLES and word not in STOPWORDS
        ]
        if not all(self._is_named(part) for part in parts):
            raise UngroundedError(
                f"{place}: nobody of that name speaks or is named; name somebody who does, or nobody"
            )

    def check_facts(self, place: str, text: str) -> None:
        """Check that all numbers, dates and names in ``text`` were said.

        Args:
            place: The name of the checked field, for the error message.
            text: The text to check.

        Raises:
            UngroundedError: Some number, date or name was not said.
        """
        if not self.figures.all_said(text):
            raise UngroundedError(f"{place}: holds a figure or a day that was not said")
        if self.names_are_marked and not all(map(self._is_named, _names(text))):
            raise UngroundedError(f"{place}: holds a name that was not said")

    def check_words(self, place: str, texts: Iterable[str], least: float = SHARE) -> None:
        """Check that enough of the meaningful words in ``texts`` were said.

        A single word is never rejected: it may be the word for what was said.

        Args:
            place: The name of the checked field, for the error message.
            texts: The texts to check together.
            least: The share of words, from 0 to 1, that must have been said.

        Raises:
            UngroundedError: A smaller share was said.
        """
        meant = [term for text in texts for term in terms(text) if term not in _OF_TALK]
        shared = sum(term in self.terms for term in meant)
        if len(meant) >= _FEW and shared < least * len(meant):
            raise UngroundedError(
                f"{place}: most of it was not said; keep to the words, and the language, of the transcript"
            )

    def _is_named(self, word: str) -> bool:
        plain = re.sub(r"['’]?s$", "", word)
        if is_blankless(word):  # an honorific may follow it
            return word[:_FEW] in self.text
        return bool({word, plain} & self.words) or stem(plain) in self.terms


_GERMAN: Final = words_of("und ich nicht ist das die wir mit auf für der den dem ein eine")


def _names(text: str) -> list[str]:
    """The capitalised words inside sentences; none for a text in which most words are capitalised."""
    found, words = [], 0
    for sentence in _SENTENCE.split(text):
        tokens = _CAPITAL.findall(sentence)
        words += len(tokens)
        found += [token for token in tokens[1:] if token[0].isupper() and not token.isupper()]
    if 2 * len(found) > words:
        return []
    names = (part for token in found for part in WORD.findall(folded(token)))
    return [
        name
        for name in names
        if len(name) >= _SHORTEST_NAME
        and name not in CALENDAR
        and name not in STOPWORDS
        and stem(name) not in _OF_TALK
    ]
