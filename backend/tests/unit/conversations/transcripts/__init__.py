"""Conversations with what should be found in them, written by hand.

``tuned`` was looked at while the extractor was written. ``kept_back`` was written with it, and ``written_last`` after the
extractor and before its first run on either: there it found the owners of 95 and 93 of 100 promises, 94 and 95 of 100
finds were right, and so were 26 of 26 and 21 of 23 categories. Faults that they showed were mended afterwards.

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

SETS: Final = ("tuned", "kept_back", "written_last")
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
