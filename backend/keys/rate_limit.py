"""A rate limit on checks of keys: without one, anybody could find out which of many keys work."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

from .errors import TooManyKeyChecksError

if TYPE_CHECKING:
    from collections.abc import Callable

    from backend.access import DataOwner

MOST: Final = 6
WITHIN: Final = 60.0
_REMEMBERED: Final = 10_000


class KeyCheckRateLimiter:
    """Allows each user six key checks a minute. Counted in this process's memory, for the last 10,000 users."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._checks: OrderedDict[DataOwner, deque[float]] = OrderedDict()

    def count_check(self, owner: DataOwner) -> None:
        """Count a key check by ``owner``.

        Raises:
            TooManyKeyChecksError: The user made six checks within the last minute. Says when to try again.
        """
        now = self._clock()
        times = self._checks.setdefault(owner, deque(maxlen=MOST))
        if len(times) == MOST and now - times[0] < WITHIN:
            raise TooManyKeyChecksError(retry_after=WITHIN - (now - times[0]))
        times.append(now)
        self._checks.move_to_end(owner)
        if len(self._checks) > _REMEMBERED:
            self._checks.popitem(last=False)
