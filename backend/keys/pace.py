"""How often a user may try keys: without a bound, this would be a place to find out which of many keys work."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

from .errors import TooManyTrialsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .store import Owner

MOST: Final = 6
WITHIN: Final = 60.0
_REMEMBERED: Final = 10_000


class Pace:
    """Lets each user pass six times a minute, in this process. It remembers the last 10,000 who did."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._passed: OrderedDict[Owner, deque[float]] = OrderedDict()

    def admit(self, owner: Owner) -> None:
        """Let ``owner`` pass.

        Raises:
            TooManyTrialsError: If they passed too often; says when to come again.
        """
        now = self._clock()
        times = self._passed.setdefault(owner, deque(maxlen=MOST))
        if len(times) == MOST and now - times[0] < WITHIN:
            raise TooManyTrialsError(retry_after=WITHIN - (now - times[0]))
        times.append(now)
        self._passed.move_to_end(owner)
        if len(self._passed) > _REMEMBERED:
            self._passed.popitem(last=False)
