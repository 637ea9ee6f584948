"""Why a provider refuses a key, as a code. The provider's message is not kept: it may quote the key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from backend.utils.llm.failures import FailureCategory

if TYPE_CHECKING:
    from datetime import datetime

    from backend.utils.llm.receipt import Attempt

Reason = Literal["revoked", "no_quota", "no_access"]

_FORBIDDEN = 403


class KeyProblem(NamedTuple):
    """The reason why a provider refuses a user's key.

    Attributes:
        reason: ``revoked``, ``no_quota`` or ``no_access``.
        endpoint: The endpoint that last refused the key, as ``provider:model``.
        since: When the key was first refused for this reason, without a successful call in between.
        last: When the key was last refused. Accurate to a minute.
    """

    reason: Reason
    endpoint: str
    since: datetime
    last: datetime

    def is_resolved_by_success_at(self, endpoint: str) -> bool:
        """Whether a successful call at ``endpoint`` shows that the problem is over.

        For ``no_access``, only a success at the endpoint that refused the key counts; otherwise any success.
        """
        return self.reason != "no_access" or endpoint == self.endpoint


def classify_key_refusal(attempt: Attempt) -> Reason | None:
    """Tell from ``attempt`` why the provider refused the key; None if the provider did not refuse it."""
    match attempt.category:
        case FailureCategory.CREDENTIAL:
            return "no_access" if attempt.status == _FORBIDDEN else "revoked"
        case FailureCategory.QUOTA:
            return "no_quota"
        case FailureCategory.MODEL_NOT_FOUND:
            return "no_access"
        case _:
            return None
