"""Replies for a loopback provider's script: answers and failures, the same for all provider APIs.

A reply says *what* happens; the API of the request decides the bytes. ``Text``, ``Json``, ``ToolCalls``,
``Refusal`` and ``Empty`` are answers. The others are failures, or send an answer slowly or in part.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Finish: TypeAlias = Literal["stop", "length", "content_filter"]


@dataclass(frozen=True, slots=True)
class Usage:
    """The token counts that an answer reports, as vendors bill them.

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
    """Reply with a text.

    Attributes:
        text: The whole answer. It is sent unchanged: neither stop sequences nor a token limit shorten it.
        finish: The finish reason, by OpenAI's name. Gemini's API says ``STOP``, ``MAX_TOKENS`` or
            ``SAFETY``.
        chunks: The number of pieces of a stream; None for one per word.
        beside: The finish reason of an empty second choice (Gemini: candidate); None for no second choice.
            The Responses API has no choices.
        usage: The usage to report; None for an estimate of four characters per token.
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
    """Reply with tool calls.

    Attributes:
        calls: The ``(name, arguments)`` of each call, in order. The calls' ids are made up.
        usage: The usage to report; None for an estimate.
    """

    calls: tuple[tuple[str, Mapping[str, Any]], ...]
    _: KW_ONLY
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Json:
    """Reply with a JSON value: as the tool's arguments if the request forces a tool, else as JSON text.

    Attributes:
        value: The JSON value.
        usage: The usage to report; None for an estimate.
    """

    value: Any
    _: KW_ONLY
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Reply that the model, or a content filter, declines to answer.

    Attributes:
        text: The model's refusal. Gemini's API sends none, because it has no text for it.
        by: ``"model"`` for OpenAI's ``message.refusal`` or Gemini's ``finishReason: SAFETY``; ``"filter"``
            for OpenAI's ``finish_reason: content_filter`` without content or Gemini's
            ``promptFeedback.blockReason``.
        chunks: The number of pieces of the text in a stream.
    """

    text: str
    _: KW_ONLY
    by: Literal["model", "filter"] = "model"
    chunks: int = 1


@dataclass(frozen=True, slots=True)
class Empty:
    """Reply with status 200 and no content.

    Attributes:
        candidates: 0 for an answer without any choice, 1 for a choice with empty content.
    """

    _: KW_ONLY
    candidates: Literal[0, 1] = 0


@dataclass(frozen=True, slots=True)
class Status:
    """Reply with an HTTP error status, and the body that the real provider would send.

    Attributes:
        code: The HTTP status.
        error_code: OpenAI's ``error.code``. Gemini has no such field: it reports ``insufficient_quota`` as a
            daily quota, ``context_length_exceeded`` by its message, and a name in capitals as the ``reason``
            of an ``ErrorInfo``.
        message: The error's message; None for the real provider's message.
        retry_after: Seconds, or an HTTP date as text. OpenAI sends the header ``Retry-After``; Gemini sends
            seconds as ``RetryInfo`` in the body, and only a date as a header.
        headers: Further response headers.
    """

    code: int
    _: KW_ONLY
    error_code: str | None = None
    message: str | None = None
    retry_after: float | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Raw:
    """Reply with exactly this status, body and headers, whatever API the request is for."""

    status: int
    body: str
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamError:
    """Reply with status 200, and then an error in the stream.

    A stream has ``after_chunks`` words of ``text``, then an event with ``error``. If the request does not
    ask for a stream, the body holds only ``error``.

    Attributes:
        after_chunks: The number of words before the error.
        text: The text.
        error: The object in the field ``error``.
    """

    after_chunks: int
    text: str
    error: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SlowFirstByte:
    """Send nothing, not even a status line, for ``seconds``, and then send the reply ``then``."""

    seconds: float
    then: Reply


@dataclass(frozen=True, slots=True)
class Trickle:
    """Send a reply slowly: pause ``gap_seconds`` between the events of a stream, or between slices of a body."""

    reply: Reply
    gap_seconds: float


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Send ``count`` keep-alives, with a pause of ``gap_seconds`` after each, and then the reply ``then``.

    In a stream a keep-alive is an SSE comment (``: PROCESSING``); before a JSON body it is a space.
    """

    gap_seconds: float
    then: Reply
    count: int = 3


@dataclass(frozen=True, slots=True)
class Cut:
    """Drop the connection in the middle of the answer.

    A stream breaks off after ``after_chunks`` words of ``text``; a body after that many slices, so that it
    is shorter than its Content-Length.
    """

    after_chunks: int
    text: str


@dataclass(frozen=True, slots=True)
class CleanEnd:
    """Send ``after_chunks`` words of ``text`` without a finish reason, in a response that is complete by HTTP."""

    after_chunks: int
    text: str


@dataclass(frozen=True, slots=True)
class WrongJson:
    """Reply with status 200 and JSON's content type, but a body (in a stream: an event) that is not JSON."""


@dataclass(frozen=True, slots=True)
class Html:
    """Reply with status 200 and a web page, as from a captive portal or a wrong address."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Accept the request and never reply, until the client or the server closes the connection."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Read the request, then reset the connection without sending a byte."""


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
