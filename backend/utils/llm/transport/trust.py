"""How far a server is trusted: how much of its answers is taken, and what of its errors is handed on.

Nobody is trusted without bounds: a provider may be broken, or broken into, and some hand on what others say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import OwnEndpointError, ProviderDownError

if TYPE_CHECKING:
    from ..errors import LLMError
    from ..network_policy import Reach


@dataclass(frozen=True, slots=True)
class Trust:
    """What holds for one kind of server.

    Attributes:
        most_bytes: Of what is kept until all of it is there: a document of JSON, or a line of a stream.
        most_stream_bytes: Of one answer, as it was sent and as it is unpacked.
        most_lines: Of one answer. An event has two or three, and costs far more time to read than to send.
        most_values: Of one JSON document, a whole answer or an event, counted by its separators: reading one holds
            the event loop.
        encodings: The content encodings that are asked for, and unpacked.
        keeps_connections: Whether a connection serves more than one request. Else each is looked up and tested anew.
        tells_errors: Whether what it says of a failure is handed on, without the key.
        error: What is raised if it sends more, or something else.
    """

    most_bytes: int
    most_stream_bytes: int
    most_lines: int
    most_values: int
    encodings: tuple[str, ...]
    keeps_connections: bool
    tells_errors: bool
    error: type[LLMError]

    @property
    def accepted_encoding(self) -> str:
        """The request's ``Accept-Encoding``."""
        return ", ".join(self.encodings) or "identity"


HOUSE = Trust(
    most_bytes=32_000_000,  # a picture in Base64 is up to 20 MB, the longest text 1 MB
    most_stream_bytes=128_000_000,  # 128,000 tokens, each in an event of 300 bytes, are 40 MB
    most_lines=1_000_000,  # 128,000 tokens, each an event of three lines, are 400,000
    most_values=300_000,  # 4,000 tokens with five alternatives each are 250,000; they take 30 ms
    encodings=("gzip", "deflate"),
    keeps_connections=True,
    tells_errors=True,
    error=ProviderDownError,
)
"""The providers that the operator chose."""
STRANGER = Trust(
    most_bytes=8_000_000,  # more than ten times what a model can say
    most_stream_bytes=8_000_000,
    most_lines=400_000,
    most_values=100_000,
    encodings=(),
    keeps_connections=False,
    tells_errors=False,
    error=OwnEndpointError,
)
"""An endpoint that a user named. What its errors say could be another service's of the house."""


def trust_in(reach: Reach | None) -> Trust:
    """The trust in a provider, by where it may be: None for those that the operator chose."""
    return HOUSE if reach is None else STRANGER
