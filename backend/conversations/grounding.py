"""Checks whether a model's summary is supported by the transcript (grounded), to reject inventions.

The check does not judge style. A paraphrase in the language of the transcript passes if each owner of a task
speaks or is mentioned, each number, date and name was said, and enough of the words stem from the transcript.
An error says what is wrong without quoting it, and is sent to the model for repair.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from .figures import CALENDAR, NumbersAndDates
from .words import (
    OF_TALK,
    STOPWORDS,
    WORD,
    comparison_terms,
    fold_case_and_accents,
    folded_word_set,
    is_written_without_blanks,
    stem,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .transcript import Transcript

SHARE: Final = 1 / 3
"""The least share of meaning words that must stem from the transcript. In good summaries it is about two thirds, in
terse ones one third; what is made up shares few or none."""

_TITLES: Final = folded_word_set(
    "mr mrs ms dr prof sir madam herr frau señor señora sr sra don doña monsieur madame mme m the team"
)
_SENTENCE: Final = re.compile(r"[.!?…:;\"“„«(\n]\s*")
_CAPITAL: Final = re.compile(r"[^\W\d_][\w’'-]*")
_SHORTEST_NAME: Final = 3
_FEW: Final = 2
_OF_TALK: Final = frozenset(map(stem, OF_TALK))


class UngroundedError(ValueError):
    """A text by a model is not supported by the transcript.

    The message says which field is wrong and why, without a quotation. It is sent to the model for repair.
    """


@dataclass(frozen=True)
class GroundingFacts:
    """The words, numbers, dates and names of a transcript, against which a model's answer is checked.

    Attributes:
        text: The part of the transcript that the model sees, in lower case without accents.
        words: The words of ``text``. Names of speakers are included.
        terms: The `comparison_terms` of ``text``: mostly stems of meaningful words.
        figures: The numbers and dates in ``text``.
        names_are_marked: Whether names can be recognized by a capital letter. In German, every noun has one.
    """

    text: str
    words: frozenset[str]
    terms: frozenset[str]
    figures: NumbersAndDates
    names_are_marked: bool

    @classmethod
    def from_transcript(cls, transcript: Transcript, shown_text: str) -> GroundingFacts:
        """Collect the facts of a transcript.

        Args:
            transcript: The transcript.
            shown_text: The part of the transcript that the model sees, as text with the names of speakers.
        """
        local = transcript.started_at.astimezone(ZoneInfo(transcript.time_zone))
        spoken = WORD.findall(fold_case_and_accents(shown_text))
        words = frozenset(spoken).union(word.replace("’", "'").partition("'")[0] for word in spoken)
        german = (transcript.language or "").lower().startswith("de") or len(words & _GERMAN) > _FEW
        return cls(
            text=fold_case_and_accents(shown_text),
            words=words,
            terms=frozenset(comparison_terms(shown_text)),
            figures=NumbersAndDates.from_text(shown_text, local.date()),
            names_are_marked=not german and not is_written_without_blanks(shown_text),
        )

    def check_owner(self, field: str, owner: str) -> None:
        """Check that ``owner``, who takes on a task, speaks in the transcript or is mentioned there.

        Raises:
            UngroundedError: ``owner`` neither speaks nor is mentioned. The message names ``field``.
        """
        parts = [
            word
            for word in WORD.findall(fold_case_and_accents(owner))
            if word not in _TITLES and word not in STOPWORDS
        ]
        if not all(self._is_named(part) for part in parts):
            raise UngroundedError(
                f"{field}: nobody of that name speaks or is named; name somebody who does, or nobody"
            )

    def check_numbers_and_names(self, field: str, text: str) -> None:
        """Check that all numbers, dates and names in ``text`` are in the transcript or follow from it.

        Raises:
            UngroundedError: A number, date or name in ``text`` is not supported. The message names ``field``.
        """
        if not self.figures.has_all_numbers_and_dates_of(text):
            raise UngroundedError(f"{field}: holds a figure or a day that was not said")
        if self.names_are_marked and not all(map(self._is_named, _names(text))):
            raise UngroundedError(f"{field}: holds a name that was not said")

    def check_word_overlap(self, field: str, texts: Iterable[str], min_share: float = SHARE) -> None:
        """Check that enough of the meaningful words in ``texts`` are in the transcript.

        Texts with fewer than two meaningful words always pass.

        Args:
            field: The name of the checked field, for the error message.
            texts: The texts, which are checked together.
            min_share: The share of words, from 0 to 1, that must be in the transcript.

        Raises:
            UngroundedError: Fewer words are in the transcript.
        """
        meant = [term for text in texts for term in comparison_terms(text) if term not in _OF_TALK]
        shared = sum(term in self.terms for term in meant)
        if len(meant) >= _FEW and shared < min_share * len(meant):
            raise UngroundedError(
                f"{field}: most of it was not said; keep to the words, and the language, of the transcript"
            )

    def _is_named(self, word: str) -> bool:
        plain = re.sub(r"['’]?s$", "", word)
        if is_written_without_blanks(word):  # an honorific may follow it
            return word[:_FEW] in self.text
        return bool({word, plain} & self.words) or stem(plain) in self.terms


_GERMAN: Final = folded_word_set("und ich nicht ist das die wir mit auf für der den dem ein eine")


def _names(text: str) -> list[str]:
    """The capitalised words inside sentences; none for a text in which most words are capitalised."""
    found, words = [], 0
    for sentence in _SENTENCE.split(text):
        tokens = _CAPITAL.findall(sentence)
        words += len(tokens)
        found += [token for token in tokens[1:] if token[0].isupper() and not token.isupper()]
    if 2 * len(found) > words:
        return []
    names = (part for token in found for part in WORD.findall(fold_case_and_accents(token)))
    return [
        name
        for name in names
        if len(name) >= _SHORTEST_NAME
        and name not in CALENDAR
        and name not in STOPWORDS
        and stem(name) not in _OF_TALK
    ]
