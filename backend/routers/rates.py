"""Enforces the rate limits of access tokens on HTTP requests."""

from __future__ import annotations

import time
from collections import OrderedDict
from math import ceil
from typing import TYPE_CHECKING, Final

from fastapi import HTTPException

from backend.utils.llm.rate_limits import SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.access import Grant

_REMEMBERED: Final = 10_000


class TooManyRequestsError(HTTPException):
    """A token exceeds its rate limit: status 429, with a ``Retry-After`` header."""

    def __init__(self, rate: object, retry_after: float) -> None:
        seconds = ceil(retry_after)
        message = f"Your access token may ask {rate}. Try again in {seconds} s."
        super().__init__(429, message, {"Retry-After": str(seconds)})


class TokenRateLimiter:
    """Enforces the rate limits of access tokens in this process with GCRA, a leaky bucket.

    A token may use up the requests of a period at once, and then sends at an even rate. Only the 10,000
    tokens that were used last are remembered.

    Args:
        clock: The monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._through_at: OrderedDict[str, float] = OrderedDict()

    def count_request(self, grant: Grant) -> None:
        """Count one request against the rate limit of the token with the rights ``grant``, if it has a limit.

        Raises:
            TooManyRequestsError: The limit is exceeded; the request does not count.
        """
        if grant.rate is None or grant.token_id is None:
            return
        now, period = self._clock(), SECONDS[grant.rate.per]
        through_at = max(now, self._through_at.get(grant.token_id, now)) + period / grant.rate.amount
        if through_at - now > period:
            raise TooManyRequestsError(grant.rate, through_at - now - period)
        self._through_at[grant.token_id] = through_at
        self._through_at.move_to_end(grant.token_id)
        if len(self._through_at) > _REMEMBERED:
            self._through_at.popitem(last=False)
