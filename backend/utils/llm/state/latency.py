"""How quick an endpoint is, and how often it fails, as frozen values: each answer gives the next one."""

from __future__ import annotations

from dataclasses import dataclass

LEAST_WEIGHT = 0.3
"""What the newest answer counts for at least; the others share the rest."""
HALF_LIFE = 1.0
"""After so many seconds what was known counts half as much as a new answer."""
FAILURE_SECONDS = 30.0
"""What an endpoint that has only failed so far is taken to need."""
FADES = 2.0
"""After so many seconds without news an endpoint may have become quicker, by half at most: so two that change places
are found out as soon as the quick one is slow, not only when it is time to look around."""
FAILURE_WEIGHT = 0.2
"""What the last request counts for in the share of those that fail."""
FORGIVEN = 30.0
"""After so many seconds that share counts half."""
TOO_OFTEN = 1 / 3


@dataclass(frozen=True, slots=True)
class Latency:
    """A mean that follows the newest answers.

    Attributes:
        seconds: The mean.
        at: When it last changed, in seconds of the monotonic clock.
        is_first: Whether it rests on a single request. The next answer replaces it: connections were set up, caches cold.
    """

    seconds: float
    at: float
    is_first: bool = False

    def hoped(self, now: float) -> float:
        """What it may be by now."""
        age = now - self.at
        return 0.5 * self.seconds if age >= FADES else self.seconds * (1.0 - 0.5 * age / FADES)

    def answered(self, seconds: float, now: float) -> Latency:
        """After an answer that took ``seconds``. The longer nothing was heard, the more it counts."""
        weight = 1.0 if self.is_first else max(LEAST_WEIGHT, 1.0 - 0.5 ** ((now - self.at) / HALF_LIFE))
        return Latency(self.seconds + weight * (seconds - self.seconds), now)

    def failed(self, seconds: float, now: float) -> Latency:
        """After a failure that took ``seconds``: failing slowly is being slow, but failing fast is not being fast."""
        if seconds > self.seconds:
            return self.answered(seconds, now)
        return Latency(self.seconds, now, self.is_first)


def after_answer(before: Latency | None, seconds: float, now: float) -> Latency:
    """What is known after an answer, the first one included."""
    return Latency(seconds, now, is_first=True) if before is None else before.answered(seconds, now)


def after_failure(before: Latency | None, seconds: float, now: float) -> Latency:
    """What is known after a failure, the first one included."""
    if before is None:
        return Latency(max(seconds, FAILURE_SECONDS), now, is_first=True)
    return before.failed(seconds, now)


@dataclass(frozen=True, slots=True)
class Failing:
    """The share of the requests of late that failed.

    Attributes:
        share: From 0 to 1.
        at: When it last changed.
    """

    share: float = 0.0
    at: float = 0.0

    def after(self, now: float, *, failed: bool) -> Failing:
        """After one more request."""
        return Failing(self.share + FAILURE_WEIGHT * (failed - self.share), now)

    def is_too_often(self, now: float) -> bool:
        """Whether others come first. Time forgives, so that it is tried again."""
        return self.share > TOO_OFTEN and self.share * 0.5 ** ((now - self.at) / FORGIVEN) > TOO_OFTEN
