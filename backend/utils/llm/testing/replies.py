"""Scripted replies: answers and faults, the same for every wire.

A reply says *what* happens; the wire of the request decides the bytes. ``Text``, ``Json``, ``ToolCalls``, ``Refusal`` and
``Empty`` are answers; the others are faults, or ways to deliver an answer badly.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Finish: TypeAlias = Literal["stop", "length", "content_filter"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one answer, as vendors bill them.

    Attributes:
        input_tokens: Tokens of the whole prompt, ``cached_tokens`` included.
        output_tokens: Tokens of the whole answer, ``reasoning_tokens`` included.
        cached_tokens: Tokens of the prompt read from the provider's cache.
        reasoning_tokens: Tokens of the answer spent on hidden reasoning.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Text:
    """A text answer.

    Attributes:
        text: The whole answer, served unchanged: neither ``stop`` nor a token limit shortens the text.
        finish: The finish reason, as OpenAI names it; Gemini's wire says ``STOP``, ``MAX_TOKENS``, ``SAFETY``.
        chunks: The number of pieces of a stream; by default one per word.
        beside: The finish reason of an empty second choice (Gemini: candidate); None for no second choice. Responses has
            no choices.
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
    """Calls of tools: ``(name, arguments)`` pairs, in order. The provider makes up the calls' ids."""

    calls: tuple[tuple[str, Mapping[str, Any]], ...]
    _: KW_ONLY
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON value, in the form that the request asks for.

    A request that forces a tool gets the value as the tool's arguments; any other request gets JSON text.
    """

    value: Any
    _: KW_ONLY
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The model or a filter declines to answer.

    Attributes:
        text: The model's refusal; OpenAI only, as Gemini has no text for it.
        by: ``"model"``: OpenAI's ``message.refusal``, Gemini's ``finishReason: SAFETY``. ``"filter"``: OpenAI's
            ``finish_reason: content_filter`` without content, Gemini's ``promptFeedback.blockReason``.
        chunks: The number of pieces of the text in a stream.
    """

    text: str
    _: KW_ONLY
    by: Literal["model", "filter"] = "model"
    chunks: int = 1


@dataclass(frozen=True, slots=True)
class Empty:
    """A 200 without content.

    Attributes:
        candidates: 0 for an answer without any choice, 1 for one choice with empty content.
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
        message: The error's message; by default that of the real provider.
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
    """Exactly this response, whatever the request."""

    status: int
    body: str
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamError:
    """An error after a status of 200, as providers send it once a stream has begun.

    A stream sends ``after_chunks`` words of ``text``, then an event with ``error``; an unstreamed body holds only ``error``.

    Attributes:
        error: The object in the field ``error``.
    """

    after_chunks: int
    text: str
    error: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SlowFirstByte:
    """Sends nothing for ``seconds``, not even a status, and then the reply ``then``."""

    seconds: float
    then: Reply


@dataclass(frozen=True, slots=True)
class Trickle:
    """Sends the pieces of a reply ``gap_seconds`` apart: the events of a stream, or slices of a body."""

    reply: Reply
    gap_seconds: float


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """``count`` keep-alives at intervals of ``gap_seconds``, and after one more interval the reply ``then``.

    In a stream the keep-alives are SSE comments (``: PROCESSING``); in a body white space, which JSON allows.
    """

    gap_seconds: float
    then: Reply
    count: int = 3


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection drops in the middle of the answer.

    A stream ends after ``after_chunks`` words of ``text``; a body ends after that many slices, short of its Content-Length.
    """

    after_chunks: int
    text: str


@dataclass(frozen=True, slots=True)
class CleanEnd:
    """The first ``after_chunks`` words of an answer, which then ends correctly by HTTP, but without a finish reason."""

    after_chunks: int
    text: str


@dataclass(frozen=True, slots=True)
class WrongJson:
    """A 200 with the content type of JSON (in a stream: an event) and a body that is no JSON."""


@dataclass(frozen=True, slots=True)
class Html:
    """A 200 with a web page, as from a captive portal or a wrong address."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Accepts the request and never answers, until one side closes the connection."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Reads the request, and then resets the connection without a byte of answer."""


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
