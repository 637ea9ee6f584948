"""Observations of one attempt on the wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import LLMError

ERROR_STATUS = 300
"""The first status that announces no answer: redirects are never followed."""


@dataclass
class Observed:
    """The observations during one attempt. Times are seconds of the monotonic clock.

    Attributes:
        requests: How many requests were sent; more than one means that something retried behind our back.
        status: The HTTP status, once headers arrived.
        request_id: What the provider calls the request, by a header.
        error_body: The body of an error answer, without the key if it repeated it.
        headers: The answer's headers that say something about limits and identity, without the key.
        sent_at: When the request was ready to leave.
        has_left: Whether there was a connection for it.
        first_byte_at: When the answer's first byte arrived.
        bytes_sent: Length of the request's body.
        was_late: Whether a wait ended long after its time: this process was busy, or stopped.
        refusal: Why the transport itself did not send the request, or did not take the answer.
    """

    requests: int = 0
    status: int | None = None
    request_id: str | None = None
    error_body: bytes = field(default=b"", repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    sent_at: float | None = None
    has_left: bool = False
    first_byte_at: float | None = None
    bytes_sent: int = 0
    was_late: bool = False
    refusal: LLMError | None = None

    @property
    def has_succeeded(self) -> bool:
        """Whether a head came, and it announced an answer, not an error."""
        return self.status is not None and self.status < ERROR_STATUS
