"""Tells which words of an error are the caller's own: some providers repeat a part of the prompt in what they say.

Whoever writes "my credit balance is too low" into a prompt must not get everybody's key rested by an error that repeats it.
Words are the caller's if several in a row stand in one text of the request, or if they are all of a short one.
"""

from __future__ import annotations

import re
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MOST_READ: Final = 32 * 1024
"""Bytes at each end of a request. Errors repeat the beginning or the end of what is long."""
_LEAST_WORDS: Final = 4
_LEAST_LETTERS: Final = 12
"""A run of so many words and letters is a repetition: Chinese has a word to a letter."""
_ESCAPE: Final = re.compile(r"\\u[0-9a-fA-F]{4}|\\.")
_MODEL: Final = re.compile(r'"model"\s*:\s*"[^"\s]*"')
"""The name that errors about the model tell."""
_WORD: Final = re.compile(r"[\u3040-\u9fff]|[^\W\u3040-\u9fff]+")


class RequestTexts:
    """The texts in a request's body, to recognise them where a provider's error message repeats them.

    Args:
        body: The body, as JSON.
    """

    def __init__(self, body: bytes) -> None:
        if len(body) > 2 * _MOST_READ:
            body = body[:_MOST_READ] + b'"' + body[-_MOST_READ:]
        plain = _MODEL.sub("", _ESCAPE.sub(" ", body.decode(errors="replace")))
        texts = [" ".join(_words_in(part)) for part in plain.split('"')]
        self._whole = frozenset(texts)
        self._joined = f" {' | '.join(texts)} "
        """The words of all texts, each between two spaces, with a bar between two texts."""
        self._words = self._joined.split()
        self._known = frozenset(self._words)

    def has_text_with_words(self, message: str) -> bool:
        """Whether a single text of the request contains all words of ``message``, in a row."""
        words = _words_in(message)
        return self._known.issuperset(words) and f" {' '.join(words)} " in self._joined

    def remove_echoes(self, message: str) -> str:
        """Remove from ``message`` the words that repeat texts of the request, by replacing them with spaces."""
        found = list(_WORD.finditer(_without_escapes(message)))
        letters = list(message)
        for number in self._repeated([match.group().lower() for match in found]):
            start, end = found[number].span()
            letters[start:end] = " " * (end - start)
        return "".join(letters)

    def _repeated(self, words: Sequence[str]) -> Iterator[int]:
        """The numbers of the ``words`` that are repeated."""
        runs: dict[int, tuple[str, ...]] = {}
        for start, word in enumerate(words):
            if word not in self._known:
                continue
            ahead = words[start : start + _LEAST_LETTERS]
            runs[start] = _run(ahead)
            for few in range(2, len(ahead) + 1):
                if " ".join(ahead[:few]) in self._whole:
                    yield from range(start, start + few)
        found = self._found(frozenset(filter(self._known.issuperset, runs.values())))
        for start, run in runs.items():
            if run in found:
                yield from range(start, start + len(run))

    def _found(self, runs: frozenset[tuple[str, ...]]) -> set[tuple[str, ...]]:
        """Those of the ``runs`` that a text has, by going through the texts once for each length."""
        found: set[tuple[str, ...]] = set()
        for length in set(map(len, runs)):
            found |= runs.intersection(zip(*(self._words[start:] for start in range(length)), strict=False))
        return found


def _run(words: Sequence[str]) -> tuple[str, ...]:
    """The first of the ``words``, as many as a repetition has; none if there are too few."""
    lengths = islice(enumerate(accumulate(map(len, words)), 1), _LEAST_WORDS - 1, None)
    return tuple(words[: next((count for count, letters in lengths if letters >= _LEAST_LETTERS), 0)])


def _words_in(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(_without_escapes(text))]


def _without_escapes(text: str) -> str:
    return _ESCAPE.sub(lambda match: " " * len(match.group()), text)
