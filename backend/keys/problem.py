"""Why a provider refuses a key, in words of ours: what the provider said may quote the key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from backend.utils.llm.failures import Category

if TYPE_CHECKING:
    from datetime import datetime

    from backend.utils.llm.receipt import Attempt

Reason = Literal["revoked", "no_quota", "no_access"]

_FORBIDDEN = 403


class KeyProblem(NamedTuple):
    """The refusal of a key by its provider.

    Attributes:
        endpoint: The endpoint that refused it last, as the table names it.
        since: When it was first refused for this reason, without a call that worked in between.
        last: When it was last refused, to the minute.
    """

    reason: Reason
    endpoint: str
    since: datetime
    last: datetime

    def ends_with(self, endpoint: str) -> bool:
        """Whether a call that worked at ``endpoint`` ends it: access to another model is no access to this one."""
        return self.reason != "no_access" or endpoint == self.endpoint


def reason_of(attempt: Attempt) -> Reason | None:
    """The reason for which the provider refused the key of ``attempt``; None if it did not."""
    match attempt.category:
        case Category.CREDENTIAL:
            return "no_access" if attempt.status == _FORBIDDEN else "revoked"
        case Category.QUOTA:
            return "no_quota"
        case Category.MODEL_NOT_FOUND:
            return "no_access"
        case _:
            return None
