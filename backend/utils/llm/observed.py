"""What the transport observes of one attempt's HTTP exchange."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import LLMError

ERROR_STATUS = 300
"""The lowest status that counts as an error: redirects are never followed."""


@dataclass
class ObservedExchange:
    """The facts that the transport records of one attempt's HTTP exchange, from which a failure is classified.

    Times are seconds of the monotonic clock. A value is None or empty as long as it is not known.

    Attributes:
        status: The HTTP status, once headers arrived.
        request_id: The provider's id of the request, from a header.
        error_body: The body of an error answer, with the key removed if the body quotes it.
        headers: The answer's headers about limits and request ids, with the key removed.
        sent_at: When the request was ready to be sent.
        has_left: Whether the request got a connection, so that the provider may have received it.
        first_byte_at: When the answer's first byte arrived.
        body_sent: The request's body.
        was_late: Whether a wait ended long after its deadline, because this process was busy or stopped.
        refusal: The error with which the transport refused to send the request or to read the answer.
    """

    status: int | None = None
    request_id: str | None = None
    error_body: bytes = field(default=b"", repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    sent_at: float | None = None
    has_left: bool = False
    first_byte_at: float | None = None
    body_sent: bytes = field(default=b"", repr=False)
    was_late: bool = False
    refusal: LLMError | None = None

    @property
    def has_succeeded(self) -> bool:
        """Whether an HTTP status has arrived and is below 300."""
        return self.status is not None and self.status < ERROR_STATUS
