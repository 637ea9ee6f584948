"""A monotonic clock that stands still until it is set."""

from __future__ import annotations


class Clock:
    """Shows what it is set to."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
