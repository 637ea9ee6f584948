"""A rate limit on checks of keys: without one, anybody could find out which of many keys work."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

from .errors import TooManyTrialsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.access import Owner

MOST: Final = 6
WITHIN: Final = 60.0
_REMEMBERED: Final = 10_000


class CheckRateLimit:
    """Limits each user to six key checks a minute, counted in this process for the last 10,000 users."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._checks: OrderedDict[Owner, deque[float]] = OrderedDict()

    def admit(self, owner: Owner) -> None:
        """Count a check by ``owner``, or reject it if there were too many.

        Raises:
            TooManyTrialsError: More than six checks in a minute. The error says when to try again.
        """
        now = self._clock()
        times = self._checks.setdefault(owner, deque(maxlen=MOST))
        if len(times) == MOST and now - times[0] < WITHIN:
            raise TooManyTrialsError(retry_after=WITHIN - (now - times[0]))
        times.append(now)
        self._checks.move_to_end(owner)
        if len(self._checks) > _REMEMBERED:
            self._checks.popitem(last=False)
