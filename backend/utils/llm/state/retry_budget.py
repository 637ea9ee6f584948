"""How many retries a provider is still worth, so that an outage is not made worse by those who wait for its end."""

from __future__ import annotations

SHARE = 0.1
RESERVE = 10.0


class RetryBudget:
    """Of N first requests and any number of retries, at most ``RESERVE + SHARE * N`` retries go out.

    Not thread-safe: its owner has the lock.
    """

    def __init__(self) -> None:
        self._left = RESERVE

    def earn(self) -> None:
        """A first request of a call goes out."""
        self._left = min(RESERVE, self._left + SHARE)

    def spend(self) -> bool:
        """Take one retry, if there is one."""
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
