"""How far a server is trusted: how much of its answers is taken, and what of its errors is handed on.

Nobody is trusted without bounds: a provider may be broken, or broken into, and some hand on what others say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import OwnEndpointError, ProviderDownError

if TYPE_CHECKING:
    from ..errors import LLMError


@dataclass(frozen=True, slots=True)
class Trust:
    """Bounds and rights of one kind of server.

    Attributes:
        most_bytes: Of what is kept until all of it is there: a document of JSON, or a line of a stream.
        most_stream_bytes: Of one answer, as it was sent and as it is unpacked.
        most_lines: Of one answer. An event has two or three, and costs far more time to read than to send.
        most_values: Of one JSON document, a whole answer or an event, counted by its separators: reading one holds
            the event loop.
        accept_encoding: The request's header: content encodings that are unpacked.
        keeps_connections: Whether a connection serves more than one request. Else each is looked up and tested anew.
        tells_errors: Whether what it says of a failure is handed on, without the key.
        has_others: Whether choices beside the first are looked at.
        bounds_chunks: Whether the number of a stream's chunks is bounded, though some text then waits for more.
        most_text: Characters of an answer's text.
        most_refusal: Characters.
        most_logprobs: Tokens with their probabilities.
        most_calls: Tool calls of an answer, and choices.
        most_arguments: Characters, of all calls of an answer together.
        eager_arguments: As many of a stream's are handed on as they come; JSON that is not complete takes long to read.
        most_garbage: Characters of a stream's arguments that are no JSON.
        error: What is raised if it sends more, or something else.
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


HOUSE = Trust(
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
"""The providers that the operator chose."""
STRANGER = Trust(
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
"""An endpoint that a user named. What its errors say could be another service's of the house."""


class ExcessError(Exception):
    """An answer says more than is taken of its server. The text says how much that is."""


def require_at_most(count: int, most: int, what: str) -> None:
    """Stop where there are more.

    Raises:
        ExcessError: There are more than ``most``; it says of what.
    """
    if count > most:
        raise ExcessError(f"{most:,} {what}")
