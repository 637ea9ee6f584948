"""Recordings of requests and providers' responses, in a readable JSON file, and their replay.

No request headers and few response headers are recorded. Everything that is or looks like an API key is
replaced.
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
    """A request has no answer in the recording. The message tells how it differs from the most similar request."""


class ReplayKey(NamedTuple):
    """The parts of a request by which its recorded answer is found.

    Attributes:
        path: The path at the loopback provider. It depends on the API, for Gemini also on model and streaming.
        body: The JSON object that was sent.
    """

    path: str
    body: Mapping[str, Any]

    @property
    def canonical_text(self) -> str:
        """The request as one string for comparison, which does not depend on the order of its JSON fields."""
        return f"{self.path} {json.dumps(self.body, sort_keys=True, ensure_ascii=False)}"

    def redact_key(self, api_key: str | None) -> ReplayKey:
        """Return a copy in which ``api_key``, and every text that looks like an API key, is replaced by ``***``."""
        return ReplayKey(
            self.path, json.loads(redact_keys(json.dumps(self.body, ensure_ascii=False), api_key))
        )


class RecordedResponse(NamedTuple):
    """A provider's response as it is recorded: status, content type, selected headers, and the body as text."""

    status: int
    content_type: str
    headers: Mapping[str, str]
    body: str


class RecordedExchange(NamedTuple):
    """One request, and the provider's response to it.

    Attributes:
        asked: The request.
        answered: The response.
    """

    asked: ReplayKey
    answered: RecordedResponse

    def as_dict(self) -> dict[str, Any]:
        """Convert the exchange into a dict for the recording file.

        A JSON body is stored as JSON, a stream as a list of its events, any other body as text.
        """
        status, content_type, headers, body = self.answered
        answered = {
            "status": status,
            "content_type": content_type,
            "headers": dict(headers),
            **_form(content_type, body),
        }
        return {"asked": {"path": self.asked.path, "body": self.asked.body}, "answered": answered}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> RecordedExchange:
        """Restore an exchange from the dict that `as_dict` made."""
        asked, answered = row["asked"], row["answered"]
        body = _text(answered)
        reaction = RecordedResponse(answered["status"], answered["content_type"], answered["headers"], body)
        return cls(ReplayKey(asked["path"], asked["body"]), reaction)


@dataclass(frozen=True)
class Recording:
    """The requests and responses of one recording file, in the order in which they were recorded.

    Attributes:
        exchanges: The requests with their responses.
        profile: The profile of the table that was used for the operator's calls while recording.
        keys: The environment variables that held the operator's keys while recording. A replay sets the same
            variables, because they decide which endpoint serves a call.
    """

    exchanges: tuple[RecordedExchange, ...]
    profile: str
    keys: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Write the recording to the file ``path``. Creates its folder, and replaces an existing file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [exchange.as_dict() for exchange in self.exchanges]
        document = {"version": VERSION, "profile": self.profile, "keys": self.keys, "exchanges": rows}
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Recording:
        """Read a recording from the file ``path``.

        Raises:
            OSError: The file does not exist, or cannot be read.
            ValueError: The file is not a recording, or has another format `VERSION`.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["version"] != VERSION:
                raise ValueError(
                    f"{path}: version {document['version']}, and this reads {VERSION}. Record it anew."
                )
            rows = tuple(map(RecordedExchange.from_dict, document["exchanges"]))
            return cls(rows, document["profile"], tuple(document["keys"]))
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is no recording: {error!r}. Record it anew.") from error


@dataclass
class Replay:
    """Answers requests from a recording. Equal requests get their responses in the order of the recording.

    Attributes:
        recording: The recording.
        faults: A message for each unrecorded request, with its differences from the most similar recorded one.
    """

    recording: Recording
    faults: list[str] = field(default_factory=list)
    _asked: Counter[str] = field(default_factory=Counter)

    def next_response(self, request: ReplayKey) -> RecordedResponse:
        """Return the next recorded response to ``request``.

        Raises:
            NotRecordedError: The request was not recorded, or was recorded fewer times than it was made.
        """
        text = request.canonical_text
        answers = [
            exchange.answered
            for exchange in self.recording.exchanges
            if exchange.asked.canonical_text == text
        ]
        number = self._asked[text]
        if number < len(answers):
            self._asked[text] += 1
            return answers[number]
        fault = _again(request, len(answers)) if answers else _strange(request, self.recording)
        self.faults.append(fault)
        raise NotRecordedError(fault)

    @property
    def unused_exchanges(self) -> tuple[RecordedExchange, ...]:
        """The recorded requests that have not been made in this replay, with their responses."""
        counts: Counter[str] = Counter()
        left = []
        for exchange in self.recording.exchanges:
            counts[exchange.asked.canonical_text] += 1
            if counts[exchange.asked.canonical_text] > self._asked[exchange.asked.canonical_text]:
                left.append(exchange)
        return tuple(left)

    def raise_if_unrecorded(self) -> None:
        """Raise an error if any request so far had no recorded response. Call this at the end of a test.

        Raises:
            NotRecordedError: There was such a request. The message describes all of them.
        """
        if self.faults:
            raise NotRecordedError("\n".join(self.faults))


def redact_keys(text: str, api_key: str | None) -> str:
    """Replace ``api_key``, and every text that looks like an API key, by ``***`` in ``text``.

    An ``api_key`` of less than 8 characters is not replaced: it may be a common word.
    """
    from ..secrets import VENDORS_KEY  # here, as the loopback provider can be imported without the facade

    if api_key and len(api_key) >= _SHORTEST:
        text = text.replace(api_key, BLOT)
    return VENDORS_KEY.sub(BLOT, text)


def select_recorded_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Select the response headers that a recording keeps: retry hints, request ids and rate limits.

    Returns:
        The headers by lower-case name.
    """
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
    alike = [exchange.asked for exchange in recording.exchanges if exchange.asked.path == question.path]
    if not alike:
        paths = ", ".join(sorted({exchange.asked.path for exchange in recording.exchanges})) or "nothing"
        return f"Nothing was recorded for {question.path}, only for {paths}. Record it anew."
    found = min((list(_differences(key.body, question.body)) for key in alike), key=len)
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    return f"{question.path} was not recorded with this request. {'; '.join(found[:_MOST])}{more}. Record it anew."


def _differences(recorded: Any, asked: Any, at: str = "") -> Iterator[str]:
    if isinstance(recorded, dict) and isinstance(asked, dict):
        for name in sorted(recorded.keys() | asked.keys()):
            yield from _differences(recorded.get(name), asked.get(name), f"{at}.{name}".lstrip("."))
    elif isinstance(recorded, list) and isinstance(asked, list) and len(recorded) == len(asked):
        for number, (item, other) in enumerate(zip(recorded, asked, strict=True)):
            yield from _differences(item, other, f"{at}[{number}]")
    elif recorded != asked:
        yield f"{at}: recorded {_short(recorded)}, asked {_short(asked)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
