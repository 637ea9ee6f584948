"""Scripted replies: answers and faults, the same for every wire.

A reply says *what* happens; the wire that a request arrived on decides how that looks in bytes. ``Text``, ``Json``,
``ToolCalls``, ``Refusal`` and ``Empty`` are answers; the others are faults, or ways to deliver an answer badly.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Finish: TypeAlias = Literal["stop", "length", "content_filter"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one answer, counted as invoices count them.

    Attributes:
        input_tokens: The whole prompt, ``cached_tokens`` included.
        output_tokens: The whole answer, ``reasoning_tokens`` included.
        cached_tokens: The part of the prompt that came from the provider's cache.
        reasoning_tokens: The part of the answer that nobody sees.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Text:
    """A text answer.

    Attributes:
        text: The whole answer. It is served as it stands: neither ``stop`` nor a token limit shortens it.
        finish: The reason to finish, in OpenAI's words; Gemini says ``STOP``, ``MAX_TOKENS``, ``SAFETY``.
        chunks: How many pieces a stream is cut into; by default one a word.
        beside: The reason to finish of a second choice (Gemini: candidate) that says nothing; None for no such
            choice. Responses knows no choices.
        usage: The usage to report; by default an estimate of four characters a token.
    """

    text: str
    _: KW_ONLY
    finish: Finish = "stop"
    chunks: int | None = None
    beside: Finish | None = None
    usage: Usage | None = None

    def __post_init__(self) -> None:
        if self.chunks is not None and self.chunks < 1:
            raise ValueError(f"chunks must be at least 1, not {self.chunks}")


@dataclass(frozen=True, slots=True)
class ToolCalls:
    """Calls of tools: ``(name, arguments)`` pairs, in order. The provider makes up their ids."""

    calls: tuple[tuple[str, Mapping[str, Any]], ...]
    _: KW_ONLY
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON value, in the form the request asks for.

    A request that forces a tool gets the value as that tool's arguments; any other gets it as text.
    """

    value: Any
    _: KW_ONLY
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The model declines, or a filter does.

    Attributes:
        text: What the model says; OpenAI only, for Gemini gives no words.
        by: ``"model"``: OpenAI's ``message.refusal``, Gemini's ``finishReason: SAFETY``. ``"filter"``: OpenAI's
            ``finish_reason: content_filter`` without content, Gemini's ``promptFeedback.blockReason``.
        chunks: How many pieces a stream cuts the words into.
    """

    text: str
    _: KW_ONLY
    by: Literal["model", "filter"] = "model"
    chunks: int = 1


@dataclass(frozen=True, slots=True)
class Empty:
    """A 200 that says nothing.

    Attributes:
        candidates: 0 for an answer without any choice, 1 for one choice whose content is empty.
    """

    _: KW_ONLY
    candidates: Literal[0, 1] = 0


@dataclass(frozen=True, slots=True)
class Status:
    """An error status with the body that the wire's real provider sends.

    Attributes:
        code: The HTTP status.
        error_code: OpenAI's ``error.code``. Gemini has no such field: ``insufficient_quota`` becomes a quota per
            day, ``context_length_exceeded`` its sentence, and a name in capitals the ``reason`` of an ``ErrorInfo``.
        message: The provider's prose; by default what the real one says.
        retry_after: Seconds, or an HTTP date as text. OpenAI sends the header ``Retry-After``; Gemini sends
            seconds as ``RetryInfo`` in the body, and only a date as a header.
        headers: More response headers.
    """

    code: int
    _: KW_ONLY
    error_code: str | None = None
    message: str | None = None
    retry_after: float | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Raw:
    """Exactly this answer, whatever was asked."""

    status: int
    body: str
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamError:
    """An error behind a 200, as providers send it once the status has left.

    A stream ends after so many words of ``text`` and an event that holds ``error``; a body holds nothing but that.

    Attributes:
        error: The object that stands under ``error``.
    """

    after_chunks: int
    text: str
    error: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SlowFirstByte:
    """Nothing, not even a status, for so many seconds; ``then`` a reply."""

    seconds: float
    then: Reply


@dataclass(frozen=True, slots=True)
class Trickle:
    """A reply whose pieces come ``gap_seconds`` apart: events of a stream, slices of a body."""

    reply: Reply
    gap_seconds: float


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Signs of life, ``count`` of them ``gap_seconds`` apart, and as long after the last ``then`` an answer.

    In a stream they are comments, which are no events (``: PROCESSING``); in a body white space, which JSON allows.
    """

    gap_seconds: float
    then: Reply
    count: int = 3


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection drops in the middle.

    A stream ends after so many words of ``text``; a body ends after so many slices, short of its Content-Length.
    """

    after_chunks: int
    text: str


@dataclass(frozen=True, slots=True)
class CleanEnd:
    """An answer of so many words that ends as HTTP wants it, and gives no reason to finish."""

    after_chunks: int
    text: str


@dataclass(frozen=True, slots=True)
class WrongJson:
    """A 200 that announces JSON (in a stream: an event of JSON) and does not hold any."""


@dataclass(frozen=True, slots=True)
class Html:
    """A 200 with a web page, as a captive portal or a wrong address gives."""


@dataclass(frozen=True, slots=True)
class Hang:
    """The request is accepted and never answered, until one side closes."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The request is read, and the connection reset: not a byte comes back."""


Answer: TypeAlias = Text | ToolCalls | Json | Refusal | Empty
Fault: TypeAlias = (
    Status
    | Raw
    | StreamError
    | SlowFirstByte
    | Trickle
    | KeepAlive
    | Cut
    | CleanEnd
    | WrongJson
    | Html
    | Hang
    | Reset
)
Reply: TypeAlias = Answer | Fault
