"""Tasks that people took on, in their own words."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from backend.conversations.figures import CALENDAR, OF_TIME
from backend.conversations.words import STOPWORDS, WORD, fold_case_and_accents, is_meaningful_word

from .sentences import LEADING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .languages import LanguagePhrases
    from .sentences import Sentence

LONGEST: Final = 120
"""The most characters of a promise."""
_FRINGE: Final = " \t,;:.!?…。！？-–—\"“”«»¿¡'’"
_TAG: Final = re.compile(r",? (?:okay|ok|right|alright|deal|ja|oder|vale|no|d['’]accord)\?$", re.IGNORECASE)
_HANGING: Final = re.compile(
    r"[\s,]+(?:and|but|so|und|aber|y|pero|et|mais|or|as well|too|please|(?:will|would|can|could) you|yeah|yes|okay|ok|alright|anyway|though|u+h*m*|bitte|por favor|(?<!until )(?<!by )then)$",
    re.IGNORECASE,
)
_ADDRESS: Final = re.compile(
    r"(?:^|[,:] |\b(?:and|so|und|y|et|thanks|danke) )([^\W\d_][\w .’-]{0,40}?)(?=[,:] )|, ([^\W\d_][\w .’-]{0,40})[?.!]*$"
)
_POINTING: Final = re.compile(r"\b(?:it|them|that|this|one)(?![’'\w])", re.IGNORECASE)
_REACH: Final = 3
"""Sentences back, in which it is looked for what `it` is."""
_TELLING: Final = 2
"""Words that carry meaning, of a sentence that may tell."""
_ROOM: Final = 30
"""Characters, at least, to tell it with."""
_TURN: Final = re.compile(r"\b(?:but|so|anyway|aber|deshalb|pero|así que|mais|donc)\b", re.IGNORECASE)
"""Where a sentence turns to something that what came before does not qualify."""
_NO_NAMES: Final = CALENDAR | {"today", "tomorrow", "tonight", "heute", "morgen"}


class PromisedTask(NamedTuple):
    """A task that somebody took on in a conversation.

    Attributes:
        owner: The person who took the task on.
        what: The task, in the speaker's words.
        is_duty: Whether the person said "I must" (or the like) instead of "I will".
        about: What a pronoun in ``what`` refers to; empty if ``what`` is clear by itself.
    """

    owner: str
    what: str
    is_duty: bool = False
    about: str = ""

    @property
    def description(self) -> str:
        """The task, if necessary with an explanation in parentheses; at most `LONGEST` characters."""
        room = LONGEST - len(self.what) - len(" ()")
        return f"{self.what} ({_trimmed(self.about, room)})" if self.about and room >= _ROOM else self.what


@dataclass(frozen=True)
class _Asked:
    """A request or an offer, which becomes a promise if the other person says yes.

    Attributes:
        owner: The person who was asked; None for the one who answers.
        is_offer: Whether ``asker`` would do it.
    """

    what: str
    turn: int
    asker: str
    owner: str | None = None
    is_offer: bool = False
    about: str = ""

    def is_answered_by(self, sentence: Sentence) -> bool:
        """Whether the speaker of ``sentence`` is the one to say yes."""
        if sentence.turn <= self.turn or sentence.speaker == self.asker:
            return False
        return self.is_offer or self.owner in {None, sentence.speaker}

    def accepted_by(self, speaker: str) -> PromisedTask:
        """The promise that results from the yes of ``speaker``."""
        return PromisedTask(self.asker if self.is_offer else speaker, self.what, about=self.about)


class PromiseExtractor:
    """Finds promised tasks in a transcript, sentence by sentence.

    It remembers requests and offers, which become promises when another person accepts them.
    """

    def __init__(self, language: LanguagePhrases, speakers: Iterable[str]) -> None:
        self._language = language
        self._speakers = _by_name(speakers)
        self._open: list[_Asked] = []
        self._now: list[Sentence] = []
        self._before: list[Sentence] = []
        self._last: deque[Sentence] = deque(maxlen=_REACH)

    def extract_from_sentence(self, sentence: Sentence) -> list[PromisedTask]:
        """Read the next sentence, and return the tasks that it promises, also by accepting an earlier request."""
        if self._now and sentence.turn != self._now[-1].turn:
            self._end_turn()
        self._open = [asked for asked in self._open if sentence.turn <= asked.turn + 1 + bool(asked.owner)]
        found = [*self._promised(sentence), *self._others(sentence)]
        if found:
            self._open = [asked for asked in self._open if not asked.is_answered_by(sentence)]
        else:
            found = list(self._accepted(sentence))
        self._open += self._asked(sentence)
        self._now.append(sentence)
        self._last.appendleft(sentence)
        return found

    def _end_turn(self) -> None:
        """Make this turn the previous one. A turn that only declines is skipped, so that the declined task can still be accepted."""
        if not self._language.declines.match(self._now[-1].text):
            self._before = self._now
        self._now = []

    # Promised ----------------------------------------------------------------------------------------------------

    def _promised(self, sentence: Sentence) -> Iterator[PromisedTask]:
        text = _TAG.sub(".", sentence.text)
        if text.endswith("?"):
            return
        for begin, start, end, is_duty in self._starts(text):
            if not (self._language.idle.match(text[start:end]) or self._is_unsure(text, begin)):
                what = self._meant(self._clause(text[start:end]), sentence)
                if what:
                    yield PromisedTask(
                        sentence.speaker, what, is_duty, self._about(what, text[:begin], sentence)
                    )

    def _is_unsure(self, text: str, begin: int) -> bool:
        """Whether the part of ``text`` in which a promise begins is a mere thought."""
        turns = [0, *(turn.end() for turn in _TURN.finditer(text)), len(text) + 1]
        part = max(at for at, turn in enumerate(turns) if turn <= max(begin, 0))
        return self._language.unsure.search(text, turns[part], turns[part + 1]) is not None

    def _starts(self, text: str) -> list[tuple[int, int, int, bool]]:
        """The places where promises begin, with and without their first words, and where the next promise begins."""
        found = [(match, False) for match in self._language.promises.finditer(text)]
        found += [(match, True) for match in self._language.duties.finditer(text)]
        if not found:
            return []
        found.sort(key=lambda match: match[0].start())
        others = [match.start() for match in self._language.others.finditer(text)]
        ends = [min((at for at in others if at > match.end()), default=len(text)) for match, _ in found]
        ends = list(map(min, ends, [*(match.start() for match, _ in found[1:]), len(text)]))
        return [
            (match.start(), match.end(), end, is_duty)
            for (match, is_duty), end in zip(found, ends, strict=True)
            if end > match.end()  # "I'll, I'll"
        ]

    def _others(self, sentence: Sentence) -> Iterator[PromisedTask]:
        """The tasks that ``sentence`` gives to other people."""
        if sentence.is_question:
            return
        for match in self._language.others.finditer(sentence.text):
            owner, what = self._named(match), self._clause(sentence.text[match.end() :])
            if owner is not None and what and owner != sentence.speaker:
                yield PromisedTask(owner, what)

    def _named(self, match: re.Match[str]) -> str | None:
        groups = match.groupdict()
        if (kin := groups.get("kin")) is not None:
            return kin
        words = [word for word in groups["who"].split() if fold_case_and_accents(word) not in STOPWORDS]
        known = next(
            (
                self._speakers[fold_case_and_accents(word)]
                for word in words
                if fold_case_and_accents(word) in self._speakers
            ),
            None,
        )
        is_no_name = any(fold_case_and_accents(word) in _NO_NAMES for word in words)
        return known or (None if is_no_name else " ".join(words) or None)

    def _clause(self, text: str) -> str:
        return _trimmed(self._language.breaks.split(text, maxsplit=1)[0])

    # Asked and accepted ------------------------------------------------------------------------------------------

    def _asked(self, sentence: Sentence) -> Iterator[_Asked]:
        for pattern, is_offer in ((self._language.offers, True), (self._language.requests, False)):
            match = pattern.search(sentence.text)
            if match is None or (is_offer and sentence.text.endswith((".", "!"))):
                continue
            what, owner = self._uncalled(sentence.text[match.end() :]), self._addressed(sentence)
            if self._language.takes.fullmatch(what):
                what = self._uncalled(sentence.text[: match.start()]) or self._spoken_of(sentence) or ""
            if what:
                about = self._about(what, sentence.text[: match.start()], sentence)
                yield _Asked(
                    what, sentence.turn, sentence.speaker, None if is_offer else owner, is_offer, about
                )
            return

    def _uncalled(self, text: str) -> str:
        """``text`` without the name of the addressed person at its end."""
        what, _, name = (trimmed := _trimmed(_TAG.sub("", text))).rpartition(", ")
        return _trimmed(what) if fold_case_and_accents(name) in self._speakers else trimmed

    def _addressed(self, sentence: Sentence) -> str | None:
        """The person whom ``sentence`` calls by name, if they take part in the conversation."""
        called = (
            word
            for groups in _ADDRESS.findall(sentence.text)
            for word in WORD.findall(fold_case_and_accents("".join(groups)))
        )
        found = (self._speakers[word] for word in called if word in self._speakers)
        return next((speaker for speaker in found if speaker != sentence.speaker), None)

    def _accepted(self, sentence: Sentence) -> Iterator[PromisedTask]:
        text, bare = sentence.text, sentence.text.strip(_FRINGE)
        if sentence.is_question:
            return
        mine = [asked for asked in self._open if asked.is_answered_by(sentence)]
        if self._language.declines.match(text):
            self._open = [asked for asked in self._open if asked not in mine]
        elif mine and self._language.agrees.match(text):
            self._open = [asked for asked in self._open if asked not in mine]
            yield mine[-1].accepted_by(sentence.speaker)
        elif self._language.takes.fullmatch(bare) and (what := self._spoken_of(sentence)):
            yield PromisedTask(sentence.speaker, what)

    def _meant(self, what: str, sentence: Sentence) -> str | None:
        """The promised task; for `it`, the task that it refers to."""
        return self._spoken_of(sentence) if self._language.takes.fullmatch(what) else what

    def _spoken_of(self, sentence: Sentence) -> str | None:
        """The task that was requested, or else mentioned before."""
        asked = self._request_answered_by(sentence)
        if asked is not None:
            return asked.what
        tasks = [task for task in self._now if not self._language.agrees.match(task.text)] or self._before
        if not tasks:
            return None
        task = next((task for task in reversed(tasks) if task.is_question or self._start(task)), tasks[-1])
        what = _trimmed(task.text[self._start(task) :])
        return None if self._language.takes.fullmatch(what) else what

    def _request_answered_by(self, sentence: Sentence) -> _Asked | None:
        return next(
            (asked for asked in self._open if asked.is_answered_by(sentence) and not asked.is_offer), None
        )

    def _about(self, what: str, before: str, sentence: Sentence) -> str:
        """The words that explain ``what``, if it is not clear by itself: from ``before`` it in the sentence, or from earlier sentences."""
        if self._meaning(what) and not self._language.points.match(what):
            return ""
        if self._meaning(before) >= _TELLING:
            return before
        asked = self._request_answered_by(sentence)
        earlier = sorted(
            self._last,
            key=lambda last: (-last.turn, not (last.turn < sentence.turn and last.is_question)),
        )
        texts = [*((asked.about or asked.what,) if asked else ()), *(sentence.text for sentence in earlier)]
        return next(
            (text for text in texts if self._meaning(text) >= _TELLING and not _POINTING.search(text)), ""
        )

    @staticmethod
    def _meaning(text: str) -> int:
        """The number of words that say more than a time."""
        return sum(
            is_meaningful_word(word) and word not in OF_TIME
            for word in WORD.findall(fold_case_and_accents(text))
        )

    def _start(self, sentence: Sentence) -> int:
        """The place in ``sentence``, after its introduction, where a task begins that nobody has yet."""
        called = self._language.calls.match(sentence.text)
        return called.end() if called else 0


def find_promises(
    sentences: Iterable[Sentence], speakers: Iterable[str], language: LanguagePhrases
) -> Iterator[PromisedTask]:
    """Find all promised tasks of a transcript, in order. A repeated promise is listed once."""
    reader, seen = PromiseExtractor(language, speakers), set[tuple[str, str]]()
    for sentence in sentences:
        for promise in reader.extract_from_sentence(sentence):
            key = promise.owner, fold_case_and_accents(promise.what)
            if key not in seen:
                seen.add(key)
                yield promise


def _by_name(speakers: Iterable[str]) -> dict[str, str]:
    """The speakers by each word of their name that no other speaker has."""
    found: dict[str, str] = {}
    for speaker in dict.fromkeys(speakers):
        for word in WORD.findall(fold_case_and_accents(speaker)):
            found[word] = "" if word in found else speaker
    return {word: speaker for word, speaker in found.items() if speaker and word not in STOPWORDS}


def _trimmed(text: str, longest: int = LONGEST) -> str:
    """``text`` without punctuation and small words at its ends, in at most ``longest`` characters of whole words."""
    text = LEADING.sub("", text.strip(_FRINGE))
    while (cut := _HANGING.sub("", text).strip(_FRINGE)) != text:
        text = cut
    if len(text) <= longest:
        return text
    return text[: text.rfind(" ", 0, longest + 1) if " " in text[: longest + 1] else longest].strip(_FRINGE)
