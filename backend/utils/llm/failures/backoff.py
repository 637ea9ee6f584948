"""The wait before the same endpoint is asked again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BASE_SECONDS = 0.5
CAP_SECONDS = 8.0
LONGEST_WAIT = 15.0
"""A provider that wants more than this many seconds is not waited for."""


def backoff(retry: int, hint: float | None, random: Callable[[], float]) -> float:
    """Seconds to wait before retry number ``retry``, from 1.

    The provider's hint, exactly, if there is one. Else full jitter: anything from 0 to a bound that doubles, so that
    many callers who failed together do not come back together (AWS, "Exponential Backoff and Jitter").

    Args:
        retry: Which retry it is.
        hint: What the provider asks for, in seconds.
        random: From 0 up to, not including, 1.
    """
    if hint is not None:
        return hint
    return random() * min(CAP_SECONDS, BASE_SECONDS * 2.0 ** min(retry - 1, 10))
