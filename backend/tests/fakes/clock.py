"""A clock that stands still until it is set."""

from __future__ import annotations

from typing import Generic

from typing_extensions import TypeVar

T = TypeVar("T", default=float)


class Clock(Generic[T]):
    """Shows what it is set to: seconds, or a date."""

    def __init__(self, now: T = 0.0) -> None:  # type: ignore[assignment]
        self.now = now

    def __call__(self) -> T:
        return self.now
