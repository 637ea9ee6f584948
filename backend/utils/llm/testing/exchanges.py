"""Recorded exchanges with providers, in a readable file, each found by its request.

No request headers and few response headers are recorded. Everything that is or looks like a key is replaced.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

VERSION: Final = 1
"""The version of the file's format."""
BLOT: Final = "***"
STREAM: Final = "text/event-stream"
_KEPT: Final = (
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "request-id",
    "x-request-id",
    "x-goog-request-id",
)
_LIMITS: Final = ("x-ratelimit-", "anthropic-ratelimit-")
_MOST: Final = 5
"""The number of differences that an error names."""
_LONGEST: Final = 80
_SHORTEST: Final = 8
"""The least length of a key that is replaced. A word such as `none`, for servers without keys, may be part of a prompt."""


class NotRecordedError(AssertionError):
    """A request has no recorded answer; the message says how it differs from the recorded requests."""


class ReplayKey(NamedTuple):
    """The parts of a request that identify its recorded answer.

    Attributes:
        path: The path at the loopback provider, which tells the API and, for Gemini, the model and streaming.
        body: The JSON object that was sent.
    """

    path: str
    body: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The request as one text, for comparison: the same for any order of its fields."""
        return f"{self.path} {json.dumps(self.body, sort_keys=True, ensure_ascii=False)}"

    def without(self, key: str | None) -> ReplayKey:
        """A copy in which the text ``key`` (None for none), and whatever looks like a key, is replaced."""
        return ReplayKey(self.path, json.loads(without_keys(json.dumps(self.body, ensure_ascii=False), key)))


class Reaction(NamedTuple):
    """What a provider answered: the status, the headers that are recorded, and the body as text."""

    status: int
    content_type: str
    headers: Mapping[str, str]
    body: str


class RecordedExchange(NamedTuple):
    """A request and the provider's answer to it."""

    asked: ReplayKey
    answered: Reaction

    def as_dict(self) -> dict[str, Any]:
        """The exchange in the form of the file: a JSON body as JSON, a stream as its events, anything else as text."""
        status, content_type, headers, body = self.answered
        answered = {
            "status": status,
            "content_type": content_type,
            "headers": dict(headers),
            **_form(content_type, body),
        }
        return {"asked": {"path": self.asked.path, "body": self.asked.body}, "answered": answered}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> RecordedExchange:
        """The exchange that `as_dict` turned into ``row``."""
        asked, answered = row["asked"], row["answered"]
        body = _text(answered)
        reaction = Reaction(answered["status"], answered["content_type"], answered["headers"], body)
        return cls(ReplayKey(asked["path"], asked["body"]), reaction)


@dataclass(frozen=True)
class Recording:
    """Exchanges in the order in which they were recorded.

    Attributes:
        profile: The profile for the operator's calls, at the time.
        keys: The variables that held the operator's keys at the time, as they decide which endpoint serves.
    """

    exchanges: tuple[RecordedExchange, ...]
    profile: str
    keys: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Write the recording to ``path``, and make its folder."""
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [one.as_dict() for one in self.exchanges]
        document = {"version": VERSION, "profile": self.profile, "keys": self.keys, "exchanges": rows}
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Recording:
        """Read the recording at ``path``.

        Raises:
            OSError: There is no such file.
            ValueError: The file is no recording, or of another `VERSION`.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["version"] != VERSION:
                raise ValueError(
                    f"{path}: version {document['version']}, and this reads {VERSION}. Record it anew."
                )
            rows = tuple(map(RecordedExchange.of, document["exchanges"]))
            return cls(rows, document["profile"], tuple(document["keys"]))
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is no recording: {error!r}. Record it anew.") from error


@dataclass
class Replay:
    """Answers requests from a recording; equal requests get their answers in the order of the recording.

    Attributes:
        faults: For each request without a recorded answer, how it differs.
    """

    recording: Recording
    faults: list[str] = field(default_factory=list)
    _asked: Counter[str] = field(default_factory=Counter)

    def answer(self, question: ReplayKey) -> Reaction:
        """The next recorded answer to ``question``.

        Raises:
            NotRecordedError: The request was not recorded, or fewer times.
        """
        text = question.text
        answers = [one.answered for one in self.recording.exchanges if one.asked.text == text]
        number = self._asked[text]
        if number < len(answers):
            self._asked[text] += 1
            return answers[number]
        fault = _again(question, len(answers)) if answers else _strange(question, self.recording)
        self.faults.append(fault)
        raise NotRecordedError(fault)

    @property
    def unused(self) -> tuple[RecordedExchange, ...]:
        """The recorded exchanges whose request was not made yet, or fewer times than recorded."""
        seen: Counter[str] = Counter()
        left = []
        for one in self.recording.exchanges:
            seen[one.asked.text] += 1
            if seen[one.asked.text] > self._asked[one.asked.text]:
                left.append(one)
        return tuple(left)

    def check(self) -> None:
        """Raise if any request so far had no recorded answer; call this at the end of a test.

        Raises:
            NotRecordedError: There were such requests; the message names all.
        """
        if self.faults:
            raise NotRecordedError("\n".join(self.faults))


def without_keys(text: str, key: str | None) -> str:
    """``text`` with ``key``, and whatever looks like a key, replaced."""
    from ..secrets import VENDORS_KEY  # here, as the loopback provider can be imported without the facade

    if key and len(key) >= _SHORTEST:
        text = text.replace(key, BLOT)
    return VENDORS_KEY.sub(BLOT, text)


def recorded_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of an answer that a recording keeps, by lower-case name."""
    named = {name.lower(): value for name, value in headers.items()}
    return {name: value for name, value in named.items() if name in _KEPT or name.startswith(_LIMITS)}


def _form(content_type: str, body: str) -> dict[str, Any]:
    if content_type.startswith(STREAM):
        return {"events": body.split("\n\n")}
    try:
        return {"json": json.loads(body)}
    except ValueError:
        return {"text": body}


def _text(answered: Mapping[str, Any]) -> str:
    if "events" in answered:
        return "\n\n".join(answered["events"])
    return str(answered["text"]) if "text" in answered else json.dumps(answered["json"], ensure_ascii=False)


def _again(question: ReplayKey, count: int) -> str:
    times = "once" if count == 1 else f"{count} times"
    return f"{question.path} was asked more often than it was recorded, {times}. Record it anew."


def _strange(question: ReplayKey, recording: Recording) -> str:
    """How ``question`` differs from the most similar recorded request."""
    alike = [one.asked for one in recording.exchanges if one.asked.path == question.path]
    if not alike:
        paths = ", ".join(sorted({one.asked.path for one in recording.exchanges})) or "nothing"
        return f"Nothing was recorded for {question.path}, only for {paths}. Record it anew."
    found = min((list(_differences(one.body, question.body)) for one in alike), key=len)
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    return f"{question.path} was not recorded with this request. {'; '.join(found[:_MOST])}{more}. Record it anew."


def _differences(recorded: Any, asked: Any, at: str = "") -> Iterator[str]:
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for name in sorted(recorded.keys() | asked.keys()):
            yield from _differences(recorded.get(name), asked.get(name), f"{at}.{name}".lstrip("."))
    elif isinstance(recorded, list) and isinstance(asked, list) and len(recorded) == len(asked):
        for number, (one, other) in enumerate(zip(recorded, asked, strict=True)):
            yield from _differences(one, other, f"{at}[{number}]")
    elif recorded != asked:
        yield f"{at}: recorded {_short(recorded)}, asked {_short(asked)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
