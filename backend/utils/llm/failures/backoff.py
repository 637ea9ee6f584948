"""The wait before a retry at the same endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BASE_SECONDS = 0.5
CAP_SECONDS = 8.0
LONGEST_WAIT = 15.0
"""The longest wait in seconds; if a provider asks for a longer one, there is no retry."""


def backoff_seconds(retry_number: int, retry_after: float | None, random: Callable[[], float]) -> float:
    """Seconds to wait before a retry: ``retry_after`` if the provider asked for it, else random.

    The random time lies between 0 and a bound that doubles with each retry, so that callers that failed
    together do not retry together (AWS, "Exponential Backoff and Jitter").

    Args:
        retry_number: The number of the retry, from 1.
        retry_after: The seconds that the provider asks to wait; None if it did not ask.
        random: Returns a random number, at least 0 and less than 1.
    """
    if retry_after is not None:
        return retry_after
    return random() * min(CAP_SECONDS, BASE_SECONDS * 2.0 ** min(retry_number - 1, 10))
