"""Transcripts, the one input of the product: what was said, by whom and when."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Self, TypeVar
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    FiniteFloat,
    StringConstraints,
    model_validator,
)
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic_core import PydanticCustomError

from .text import WHOLE, collapse_to_one_line, truncate_middle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")

MAX_SEGMENTS = 50_000
RENDER_LIMIT = 2_400
"""The most characters shown to a model: some 600 tokens, which leaves a small model room to answer."""
READ_LIMIT = 150_000
"""The most characters read at all, speakers included: some three hours of talk, at most 0.2 s of work."""

_QUICK_SEGMENTS, _QUICK_LETTERS = 40, 4_000
"""What is read, or written, within some milliseconds. More is beside the event loop."""
_LETTERS_PER_WORD = 6
"""For languages that write without blanks: about what an English word takes, its blank included."""


_FIRST_YEAR, _LAST_YEAR = 1900, 9000


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise PydanticCustomError(
            "naive_time",
            "has no UTC offset, so it does not name a moment. Write {example} or end it with Z",
            {"example": f"{moment.isoformat()}+00:00"},
        )
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise PydanticCustomError(
            "far_time", "is outside the years 1900 to 9000, which every time zone can show"
        )
    return moment


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise PydanticCustomError(
            "unknown_time_zone", "is not an IANA time zone, such as Europe/Vienna or UTC"
        ) from error
    return name


AwareTime = Annotated[datetime, AfterValidator(_aware)]
TimeZone = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_known_zone)]
Language = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$", max_length=35, strip_whitespace=True),
]
"""A BCP 47 tag by its form: ``en``, ``pt-BR``, ``zh-Hant-TW``."""


@pydantic_dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Segment:
    """A piece of speech of one speaker. Times are seconds from the start of the recording.

    It is a dataclass to save memory: a transcript may have 50,000 segments.
    """

    speaker: Annotated[str, StringConstraints(max_length=80), WHOLE] = "Speaker"
    text: Annotated[str, WHOLE] = Field()
    start: FiniteFloat = Field(ge=0)
    end: FiniteFloat = Field(ge=0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end < self.start:
            raise PydanticCustomError("ends_before_start", "ends before it starts: start must be <= end")
        return self


@dataclass(frozen=True, slots=True)
class RenderedTranscript:
    """A transcript as text for a model.

    Attributes:
        text: The text, with one line for each speaker's turn.
        truncated: Whether the middle is left out.
    """

    text: str
    truncated: bool


class Transcript(BaseModel):
    """A transcribed recording.

    Attributes:
        started_at: The time at second 0 of the recording, with its UTC offset.
        time_zone: The IANA time zone in which it was recorded.
        language: The BCP 47 tag of the language; None if unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # The first faulty one ends it: what it costs to refuse must not grow with the number of faults.
    segments: Annotated[tuple[Segment, ...], Field(max_length=MAX_SEGMENTS), FailFast()]
    started_at: AwareTime
    time_zone: TimeZone = "UTC"
    language: Language | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said."""
        return not any(segment.text.strip() for segment in self.segments)

    @property
    def approximate_word_count(self) -> int:
        """The approximate number of words, also for languages that are written without blanks."""
        texts = [segment.text.strip() for segment in self.segments]
        return max(sum(len(text.split()) for text in texts), sum(map(len, texts)) // _LETTERS_PER_WORD)

    def is_longer_than(self, words: int) -> bool:
        """Whether the transcript has more than ``words`` words. Stops counting as soon as this is certain."""
        blanks = letters = 0
        for segment in self.abridge().segments:
            text = segment.text.strip()
            blanks, letters = blanks + len(text.split(maxsplit=words + 1)), letters + len(text)
            if max(blanks, letters // _LETTERS_PER_WORD) > words:
                return True
        return False

    def abridge(self, limit: int = READ_LIMIT) -> Self:
        """Shorten the transcript by cutting out its middle; return it unchanged if it is not longer than ``limit``.

        Args:
            limit: The maximum number of characters, names of speakers included.
        """
        if sum(len(segment.speaker) + len(segment.text) for segment in self.segments) <= limit:
            return self
        head = tuple(_within(limit // 2, self.segments, _beginning))
        tail = tuple(_within(limit // 2, reversed(self.segments), _ending))
        return self.model_copy(update={"segments": head + tail[::-1]})

    def render(self, limit: int = RENDER_LIMIT) -> RenderedTranscript:
        """Convert the transcript to text, one line per turn. If it is longer than ``limit``, its middle is cut out."""
        part = self.abridge()
        spoken = (segment for segment in part.segments if segment.text.strip())
        turns = groupby(spoken, key=lambda segment: segment.speaker)
        whole = "\n".join(
            f"{collapse_to_one_line(speaker)}: {collapse_to_one_line(' '.join(segment.text for segment in turn))}"
            for speaker, turn in turns
        )
        return RenderedTranscript(
            truncate_middle(whole, limit), truncated=part is not self or len(whole) > limit
        )

    @property
    def recording_details(self) -> str:
        """One line for the model that says when and in which language the recording was made."""
        local = self.started_at.astimezone(ZoneInfo(self.time_zone))
        language = f" Language: {self.language}." if self.language else ""
        return f"Recorded {local:%A, %Y-%m-%d %H:%M} ({self.time_zone}).{language}"


async def run_in_thread_if_long(transcript: Transcript, work: Callable[[], T]) -> T:
    """Call ``work`` and return its result; in a thread if ``transcript`` is long, so as not to block the event loop."""
    segments = transcript.segments
    is_quick = (
        len(segments) <= _QUICK_SEGMENTS and sum(len(segment.text) for segment in segments) <= _QUICK_LETTERS
    )
    return work() if is_quick else await asyncio.to_thread(work)


def _within(limit: int, segments: Iterable[Segment], cut: Callable[[str, int], str]) -> Iterator[Segment]:
    """The first ``segments`` that fit into ``limit`` characters; the last one is ``cut``."""
    for segment in segments:
        room = limit - len(segment.speaker)
        if len(segment.text) > room:
            yield replace(segment, text=cut(segment.text, max(room, 0)))
            return
        yield segment
        limit = room - len(segment.text)


def _beginning(text: str, length: int) -> str:
    return text[:length]


def _ending(text: str, length: int) -> str:
    return text[len(text) - length :]
