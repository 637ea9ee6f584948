"""How far a server is trusted: the size limits of its answers, and whether its error texts are shown.

All servers' answers are limited: a provider may be broken or compromised, and a gateway passes on data
of others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import OwnEndpointError, ProviderDownError

if TYPE_CHECKING:
    from ..errors import LLMError


@dataclass(frozen=True, slots=True)
class ServerTrust:
    """Limits for one kind of server: the operator's providers, or users' own endpoints.

    Attributes:
        most_bytes: Most bytes that are buffered at once: a JSON document, or a line of a stream.
        most_stream_bytes: Most bytes of one answer, as sent and also after decompression.
        most_lines: Most lines of one answer. A stream's event has two or three.
        most_values: Most values of a JSON document, counted by its separators. More would block the event
            loop.
        accept_encoding: The header ``accept-encoding`` of requests: the encodings that are decompressed.
        keeps_connections: Whether a connection is used for several requests. If not, each host is looked up
            and checked again.
        tells_errors: Whether the server's error texts are passed on, with the key removed.
        error: The type of error that is raised if an answer exceeds a limit.
        has_others: Whether choices of an answer after the first are read.
        bounds_chunks: Whether the number of a stream's chunks is limited, by merging some of them.
        most_text: Most characters of an answer's text.
        most_refusal: Most characters of a refusal.
        most_logprobs: Most tokens with log probabilities.
        most_calls: Most tool calls of an answer, and most choices.
        most_arguments: Most characters of the arguments of all tool calls of an answer.
        eager_arguments: Most characters of streamed arguments that are passed on before they are complete.
        most_garbage: Most characters of streamed arguments that are not JSON.
    """

    most_bytes: int
    most_stream_bytes: int
    most_lines: int
    most_values: int
    accept_encoding: str
    keeps_connections: bool
    tells_errors: bool
    error: type[LLMError]
    has_others: bool
    bounds_chunks: bool
    most_text: int
    most_refusal: int
    most_logprobs: int
    most_calls: int
    most_arguments: int
    eager_arguments: int
    most_garbage: int


HOUSE = ServerTrust(
    most_bytes=32_000_000,  # a picture in Base64 is up to 20 MB, the longest text 1 MB
    most_stream_bytes=128_000_000,  # 128,000 tokens, each in an event of 300 bytes, are 40 MB
    most_lines=1_000_000,  # 128,000 tokens, each an event of three lines, are 400,000
    most_values=300_000,  # 4,000 tokens with five alternatives each are 250,000; they take 30 ms
    accept_encoding="gzip, deflate",
    keeps_connections=True,
    tells_errors=True,
    error=ProviderDownError,
    has_others=True,
    bounds_chunks=False,
    most_text=32_000_000,
    most_refusal=1_000_000,
    most_logprobs=300_000,
    most_calls=1000,  # each takes up to 50 µs to be read
    most_arguments=1_000_000,  # twice what a model can say
    eager_arguments=2000,
    most_garbage=2000,
)
"""The trust in providers that the operator chose."""
STRANGER = ServerTrust(
    most_bytes=8_000_000,  # more than ten times what a model can say
    most_stream_bytes=8_000_000,
    most_lines=400_000,
    most_values=100_000,
    accept_encoding="identity",
    keeps_connections=False,
    tells_errors=False,
    error=OwnEndpointError,
    has_others=False,
    bounds_chunks=True,
    most_text=1_000_000,
    most_refusal=10_000,
    most_logprobs=10_000,
    most_calls=128,
    most_arguments=10_000,
    eager_arguments=0,
    most_garbage=1000,
)
"""The trust in a user's own endpoint, whose error texts could come from an internal service."""


class AnswerTooLargeError(Exception):
    """An answer exceeds a size limit for its server. The text names the limit."""


def check_answer_limit(count: int, limit: int, what: str) -> None:
    """Raise an error if ``count`` exceeds ``limit``. ``what`` names the counted things for the error's text.

    Raises:
        AnswerTooLargeError: ``count`` is more than ``limit``.
    """
    if count > limit:
        raise AnswerTooLargeError(f"{limit:,} {what}")
