"""Who asks the store about a limit: how many requests wait for its answer, and when a process asks again after a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..rate_limiter import LONGEST_POLL, POLL_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from .store import SharedLimit

ASKED_SECONDS = 2.0
"""Seconds for which other calls wait for the answer to a call that asks the store: longer than any answer takes."""
FEW = 8
"""The number of processes that may check for free places every `POLL_SECONDS`; with more, each checks less often."""
MOST_DOUBLINGS = 20


class PendingStoreRequests:
    """Counts, for each scope, the requests that wait for an answer of the shared store.

    Args:
        clock: The monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._asking: dict[str, tuple[int, float]] = {}

    def count_pending(self, scope: str) -> int:
        """Count the requests in ``scope`` that wait for the store; 0 once the newest is `ASKED_SECONDS` old."""
        asking, asked_at = self._asking.get(scope, (0, 0.0))
        return asking if self._clock() - asked_at < ASKED_SECONDS else 0

    def record_request_sent(self, scope: str) -> None:
        """Count one more request in ``scope`` that waits for the store's answer."""
        self._asking[scope] = self.count_pending(scope) + 1, self._clock()

    def record_request_done(self, scope: str) -> None:
        """Count one request fewer in ``scope``, because the store has answered or the wait is over."""
        asking, asked_at = self._asking.pop(scope, (0, 0.0))
        if asking > 1:
            self._asking[scope] = asking - 1, asked_at


class RefusalBackoff:
    """Decides how long to wait before asking the store again for a limit that it has refused.

    The longest wait doubles with each refusal in a row, up to the time in which every process gets a turn.

    Args:
        random: Returns a random number from 0 up to, not including, 1.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._in_a_row: dict[str, int] = {}

    def forget_all_refusals(self) -> None:
        """Forget all refusals."""
        self._in_a_row.clear()

    def record_grant(self, limit: SharedLimit) -> None:
        """Forget the refusals of ``limit``, because the store has granted a request."""
        self._in_a_row.pop(limit.key, None)

    def record_refusal(self, limit: SharedLimit, processes: int) -> float:
        """Count a refusal of ``limit``, and return a random number of seconds to wait before asking again.

        ``processes`` is the number of processes that share the limit.
        """
        refused = self._in_a_row[limit.key] = min(MOST_DOUBLINGS, self._in_a_row.get(limit.key, 0) + 1)
        if limit.kind == "window":
            first, turn = limit.bucket_seconds, processes * limit.seconds / limit.most
        else:
            first, turn = POLL_SECONDS / FEW, processes * POLL_SECONDS / FEW
        return self._random() * min(LONGEST_POLL, turn, first * 2.0**refused)
