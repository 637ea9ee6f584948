"""Why a provider refuses a key, in words of our own: the provider's message may quote the key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from backend.utils.llm.failures import Category

if TYPE_CHECKING:
    from datetime import datetime

    from backend.utils.llm.receipt import Attempt

Reason = Literal["revoked", "no_quota", "no_access"]

_FORBIDDEN = 403


class KeyProblem(NamedTuple):
    """The reason for which a provider refuses a key.

    Attributes:
        endpoint: The endpoint that refused the key last, ``provider:model``.
        since: When the key was first refused for this reason, without a successful call in between.
        last: When the key was last refused, to the minute.
    """

    reason: Reason
    endpoint: str
    since: datetime
    last: datetime

    def ends_with(self, endpoint: str) -> bool:
        """Whether a successful call at ``endpoint`` proves that the problem is over.

        A problem ``no_access`` is over only after a success at the endpoint that refused; any other, at any endpoint.
        """
        return self.reason != "no_access" or endpoint == self.endpoint


def reason_of(attempt: Attempt) -> Reason | None:
    """Classify why the provider refused the key of ``attempt``; None if it did not refuse the key."""
    match attempt.category:
        case Category.CREDENTIAL:
            return "no_access" if attempt.status == _FORBIDDEN else "revoked"
        case Category.QUOTA:
            return "no_quota"
        case Category.MODEL_NOT_FOUND:
            return "no_access"
        case _:
            return None
