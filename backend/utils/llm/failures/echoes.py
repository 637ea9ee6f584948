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


class SentTexts:
    """The texts in the body of a request.

    Args:
        body: The body, as JSON.
    """

    def __init__(self, body: bytes) -> None:
        if len(body) > 2 * _MOST_READ:
            body = body[:_MOST_READ] + b'"' + body[-_MOST_READ:]
        plain = _MODEL.sub("", _ESCAPE.sub(" ", body.decode(errors="replace")))
        self._words = "|".join(f" {' '.join(_words_in(part))} " for part in plain.split('"'))
        """The words of all texts, each between two spaces, and each text between two bars."""

    def hold(self, prose: str) -> bool:
        """Whether one text has all words of ``prose``, in a row."""
        return f" {' '.join(_words_in(prose))} " in self._words

    def left_of(self, prose: str) -> str:
        """``prose`` without the words that repeat these texts."""
        found = list(_WORD.finditer(_without_escapes(prose)))
        letters = list(prose)
        for number in self._repeated([match.group().lower() for match in found]):
            start, end = found[number].span()
            letters[start:end] = " " * (end - start)
        return "".join(letters)

    def _repeated(self, words: Sequence[str]) -> Iterator[int]:
        """The numbers of the ``words`` that are repeated."""
        for start in range(len(words)):
            run = _run(words[start:])
            if run and f" {' '.join(run)} " in self._words:
                yield from range(start, start + len(run))
            for few in range(2, min(_LEAST_WORDS, len(words) - start) + 1):
                if f"| {' '.join(words[start : start + few])} |" in self._words:
                    yield from range(start, start + few)


def _run(words: Sequence[str]) -> Sequence[str]:
    """The first of the ``words``, as many as a repetition has; none if there are too few."""
    lengths = islice(enumerate(accumulate(map(len, words)), 1), _LEAST_WORDS - 1, None)
    return words[: next((count for count, letters in lengths if letters >= _LEAST_LETTERS), 0)]


def _words_in(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(_without_escapes(text))]


def _without_escapes(text: str) -> str:
    return _ESCAPE.sub(lambda match: " " * len(match.group()), text)
