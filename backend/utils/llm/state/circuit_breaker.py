"""A circuit breaker as a frozen value: each event returns a new breaker. Times are seconds of one monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

IN_A_ROW = 5
WINDOW_COUNT = 20
WINDOW_SHARE = 0.5
WINDOW_SECONDS = 60.0
OPEN_SECONDS = 30.0
OPEN_MOST_SECONDS = 300.0

State = Literal["closed", "open", "half open"]


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """A circuit breaker, as a frozen value: each recorded call returns a new breaker.

    It opens after five failures in a row, or when at least ten of twenty calls within a minute failed.

    Attributes:
        recent: The last calls: when each ended, and whether it failed.
        in_a_row: Failures since the last success.
        openings: How often the breaker has opened since it was last closed; each time it stays open twice as
            long.
        opens_until: When a probe may be sent; None while the breaker is closed.
    """

    recent: tuple[tuple[float, bool], ...] = ()
    in_a_row: int = 0
    openings: int = 0
    opens_until: float | None = None

    def state_at(self, now: float) -> State:
        """The state at ``now``: ``closed`` lets every call through, ``open`` none, ``half open`` one probe."""
        if self.opens_until is None:
            return "closed"
        return "open" if now < self.opens_until else "half open"

    @property
    def has_no_failures(self) -> bool:
        """Whether the breaker is closed and no recent call failed. Such a breaker need not be stored."""
        return self.opens_until is None and not any(failed for _, failed in self.recent)

    def with_success(self, now: float) -> CircuitBreaker:
        """Return the breaker after a call that the provider answered. It is closed if it was open or half open."""
        if self.opens_until is not None:
            return CircuitBreaker()
        return replace(self, recent=self._with(now, failed=False), in_a_row=0)

    def with_failure(self, now: float) -> CircuitBreaker:
        """Return the breaker after a failed call, which may open it.

        Failures of calls that were in flight when the breaker opened do not keep it open longer.
        """
        after = replace(self, recent=self._with(now, failed=True), in_a_row=self.in_a_row + 1)
        state = self.state_at(now)
        if state == "open" or (state == "closed" and not _is_enough(after, now)):
            return after
        seconds = min(OPEN_MOST_SECONDS, OPEN_SECONDS * 2.0 ** min(self.openings, 10))
        return replace(after, openings=self.openings + 1, opens_until=now + seconds)

    def _with(self, now: float, *, failed: bool) -> tuple[tuple[float, bool], ...]:
        return (*self.recent, (now, failed))[-WINDOW_COUNT:]


def _is_enough(breaker: CircuitBreaker, now: float) -> bool:
    if breaker.in_a_row >= IN_A_ROW:
        return True
    outcomes = [failed for when, failed in breaker.recent if now - when <= WINDOW_SECONDS]
    return len(outcomes) >= WINDOW_COUNT and sum(outcomes) >= WINDOW_SHARE * WINDOW_COUNT
