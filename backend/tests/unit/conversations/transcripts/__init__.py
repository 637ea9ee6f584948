"""Conversations with what should be found in them, written by hand.

``tuned`` was looked at while the extractor was written, the others were not looked at before its first run on them. Then
it found so many promises with their owner, so many of its finds were right, and so many categories:

* ``kept_back``, written before the extractor: 59 of 62, 59 of 63, 26 of 26;
* ``written_last``, written after it: 55 of 59, 55 of 58, 21 of 23;
* ``turns_of_phrase``, written to be hard: 31 of 36, 31 of 35, 13 of 14;
* ``overheard``, written by somebody who had not seen the extractor, as live transcription gives it: 56 of 76, 56 of 73,
  32 of 32;
* ``overheard_later``, by the same person after its faults were mended: 35 of 41, 39 of 43, 16 of 17; before, they would
  have been 30 of 41.

Faults that they showed were mended after that.

A conversation begins with ``== name | category | language``. A line ``  > owner: word`` names a promise: who took it
on, and a word of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from backend.conversations.transcript import Segment, Transcript

SETS: Final = ("tuned", "kept_back", "written_last", "turns_of_phrase", "overheard", "overheard_later")
_TUESDAY: Final = datetime(2026, 11, 17, 8, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Example:
    name: str
    category: str
    transcript: Transcript
    promises: tuple[tuple[str, str], ...]


def examples(of: str) -> tuple[Example, ...]:
    """All of one set."""
    text = Path(__file__).with_name(f"{of}.txt").read_text("utf-8")
    return tuple(map(_example, re.split(r"^== ", text, flags=re.MULTILINE)[1:]))


def _example(block: str) -> Example:
    head, *lines = block.strip().splitlines()
    name, category, language = (part.strip() for part in head.split("|"))
    said = [line.partition(": ") for line in lines if not line.startswith("  > ")]
    promises = [line[4:].partition(": ") for line in lines if line.startswith("  > ")]
    return Example(
        name,
        category,
        transcript([(speaker, text) for speaker, _, text in said], language),
        tuple((owner, word) for owner, _, word in promises),
    )


def transcript(turns: list[tuple[str, str]], language: str | None = None) -> Transcript:
    """Who said what, on a Tuesday in November."""
    segments = tuple(
        Segment(speaker=speaker, text=text, start=at, end=at + 1) for at, (speaker, text) in enumerate(turns)
    )
    return Transcript(segments=segments, started_at=_TUESDAY, language=language)
