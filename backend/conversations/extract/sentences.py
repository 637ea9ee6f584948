"""Splits a transcript into sentences."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from backend.conversations.text import collapse_to_one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.conversations.transcript import Transcript

_END: Final = re.compile(
    r"""(?<!\bDr)(?<!\bMr)(?<!\bMs)(?<!\bMrs)(?<!\bSt)(?<!\bNr)(?<!\bProf)(?<!\bz\.B)(?<!\bp\.m)(?<!\ba\.m)
    (?:(?<![.!?…])[.!?…]+["”»')]*\s+ | (?<=[。！？]))""",
    re.VERBOSE,
)
LEADING: Final = re.compile(
    r"^(?:(?:and|but|so|then|well|okay|ok|oh|yeah|yes|right|um+|uh+|und|aber|also|ja|äh+m?|y|pero|bueno|et|mais|alors|ben|euh)[,. ]+)+(?=\w)",
    re.IGNORECASE,
)
"""Words with which people begin to speak, and that say nothing."""
_STOP: Final = re.compile("[.!?…。！？]")
LONGEST: Final = 400
"""The most characters of a sentence."""
_MARKER: Final = re.compile(
    r""",?[ ](?=(?:okay|ok|alright|anyway|oh|naja|na[ ]gut|bueno[ ]pues|bon[ ]alors)\b(?![ ](?:with|if|to|for)\b|[?.!]|$))
    (?<!\bis[ ])(?<!\bbe[ ])(?<!['’]s[ ])(?<!\bthat[ ])(?<!\bare[ ])(?<!\byou[ ])(?<!\bfeel[ ])(?<!\bit[ ])(?<!\bwas[ ])(?<!\ban[ ])(?<!\bnot[ ])""",
    re.VERBOSE | re.IGNORECASE,
)
"""Before a word with which people begin anew. Speech that was written down without full stops is told apart by it."""
_BREATH: Final = re.compile(
    r" (?=(?:(?:and|but|so|because|then) )+(?:i|we|you|he|she|they|it|that|there|my|the)(?:['’]\w+)? "
    r"|(?:und|aber|weil|dann) (?:ich|wir|du|er|sie|es|das|die|der) |(?:et|mais) (?:je|tu|il|elle|on|nous) |(?:y|pero) (?:yo|tú|él|ella) )",
    re.IGNORECASE,
)
"""Where a long one may be cut: before another thought begins."""
_LONG: Final = 160
"""Characters of what people say in one breath."""
_OPENING: Final = "\"“«'¿¡ "


class Sentence(NamedTuple):
    """A sentence of one speaker. ``turn`` is the number of speaker changes before it."""

    speaker: str
    text: str
    turn: int

    @property
    def is_question(self) -> bool:
        """Whether the sentence ends with a question mark."""
        return self.text.rstrip("\"”»' ").endswith(("?", "？"))


def split_into_sentences(transcript: Transcript) -> Iterator[Sentence]:
    """Split a transcript into sentences, in spoken order. A sentence may span several segments of one speaker."""
    spoken = (segment for segment in transcript.segments if segment.text.strip())
    turns = groupby(spoken, key=lambda segment: segment.speaker)
    for turn, (speaker, segments) in enumerate(turns):
        texts = [collapse_to_one_line(segment.text) for segment in segments]
        whole = " ".join(filter(None, texts))
        parts = _split(whole) if _STOP.search(whole) else texts
        pieces = (piece for part in parts for piece in _breaths(part.strip(_OPENING)))
        yield from (Sentence(collapse_to_one_line(speaker), text, turn) for text in pieces if text)


def _split(text: str) -> Iterator[str]:
    start = 0
    for end in _END.finditer(text):
        yield text[start : end.end()]
        start = end.end()
    yield text[start:]


def _breaths(text: str) -> Iterator[str]:
    """A sentence in parts, if it seems to be several."""
    for begun in _MARKER.split(text):
        begins = 0
        for at in _BREATH.finditer(begun):
            if at.start() - begins > _LONG:
                yield from _bounded(begun[begins : at.start()])
                begins = at.end()
        yield from _bounded(begun[begins:])


def _bounded(text: str) -> Iterator[str]:
    """A text without full stops, in pieces of limited length, because searching a sentence takes time with its length."""
    while len(text) > LONGEST:
        end = text.rfind(" ", 0, LONGEST)
        yield text[: end if end > 0 else LONGEST]
        text = text[end + 1 if end > 0 else LONGEST :]
    yield text
