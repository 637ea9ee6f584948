"""How quick an endpoint is, as a frozen value: each answer gives the next one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

LEAST_WEIGHT = 0.3
"""What the newest answer counts for at least; the others share the rest."""
HALF_LIFE = 1.0
"""After so many seconds what was known counts half as much as a new answer."""
FAILURE_SECONDS = 30.0
"""What the first failure of an endpoint counts as, if nothing else is known of it."""
FAILURE_FACTOR = 3.0
"""A failure counts as an answer that takes so many times as long as usual: failing fast is not being fast."""
LONGEST = 60.0
FADES = 2.0
"""After so many seconds without news an endpoint may have become quicker, by half at most: so two that change places
are found out as soon as the quick one is slow, not only when it is time to look around."""


@dataclass(frozen=True, slots=True)
class Latency:
    """A mean that follows the newest answers.

    Attributes:
        seconds: The mean.
        at: When it was last told anything, in seconds of the monotonic clock.
    """

    seconds: float
    at: float

    @classmethod
    def first(cls, seconds: float, now: float) -> Self:
        """Of the first answer."""
        return cls(seconds, now)

    def hoped(self, now: float) -> float:
        """What it may be by now."""
        age = now - self.at
        return 0.5 * self.seconds if age >= FADES else self.seconds * (1.0 - 0.5 * age / FADES)

    def answered(self, seconds: float, now: float) -> Latency:
        """After an answer that took ``seconds``. The longer nothing was heard, the more it counts."""
        weight = max(LEAST_WEIGHT, 1.0 - 0.5 ** ((now - self.at) / HALF_LIFE))
        return Latency(self.seconds + weight * (seconds - self.seconds), now)

    def failed(self, seconds: float, now: float) -> Latency:
        """After a failure that took ``seconds``."""
        penalty = min(LONGEST, max(seconds, FAILURE_FACTOR * self.seconds))
        return Latency(max(self.seconds, self.answered(penalty, now).seconds), now)


def after_failure(before: Latency | None, seconds: float, now: float) -> Latency:
    """What is known after a failure, the first one included."""
    if before is None:
        return Latency.first(max(seconds, FAILURE_SECONDS), now)
    return before.failed(seconds, now)


def after_answer(before: Latency | None, seconds: float, now: float) -> Latency:
    """What is known after an answer, the first one included."""
    return Latency.first(seconds, now) if before is None else before.answered(seconds, now)
