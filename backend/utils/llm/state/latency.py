"""Moving averages of an endpoint's latency and failure rate, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass

LEAST_WEIGHT = 0.3
"""The least weight of the newest answer in the mean."""
HALF_LIFE = 1.0
"""Seconds since the last answer after which the mean and a new answer have equal weight."""
FAILURE_SECONDS = 30.0
"""The lowest latency, in seconds, assumed of an endpoint whose first request failed."""
FADES = 2.0
"""Seconds without an answer over which the assumed latency of an endpoint falls to half. So an endpoint that has recovered is tried
as soon as the other is slow, not only when exploration comes to it."""
FAILURE_WEIGHT = 0.2
"""The weight of the last request in the failure rate."""
FORGIVEN = 30.0
"""Seconds in which the failure rate decays to half."""
TOO_OFTEN = 1 / 3


@dataclass(frozen=True, slots=True)
class LatencyEstimate:
    """A moving average of latency.

    Attributes:
        seconds: The mean.
        at: When the mean last changed, in seconds of the monotonic clock.
        is_first: Whether the mean is of a single request, which had to set up a connection. The next answer replaces it.
    """

    seconds: float
    at: float
    is_first: bool = False

    def hoped(self, now: float) -> float:
        """The latency to expect at ``now``: it sinks to half while nothing is measured, so that the endpoint is tried again."""
        age = now - self.at
        return 0.5 * self.seconds if age >= FADES else self.seconds * (1.0 - 0.5 * age / FADES)

    def answered(self, seconds: float, now: float) -> LatencyEstimate:
        """The mean after an answer that took ``seconds``. The older the mean, the more the answer counts."""
        weight = 1.0 if self.is_first else max(LEAST_WEIGHT, 1.0 - 0.5 ** ((now - self.at) / HALF_LIFE))
        return LatencyEstimate(self.seconds + weight * (seconds - self.seconds), now)

    def failed(self, seconds: float, now: float) -> LatencyEstimate:
        """The mean after a failure that took ``seconds``: a slow failure counts as latency, a fast failure does not."""
        if seconds > self.seconds:
            return self.answered(seconds, now)
        return LatencyEstimate(self.seconds, now, self.is_first)


def after_answer(before: LatencyEstimate | None, seconds: float, now: float) -> LatencyEstimate:
    """Update an endpoint's mean latency with an answer that took ``seconds``; ``before`` is None for the first request."""
    return LatencyEstimate(seconds, now, is_first=True) if before is None else before.answered(seconds, now)


def after_failure(before: LatencyEstimate | None, seconds: float, now: float) -> LatencyEstimate:
    """Update an endpoint's mean latency with a failure after ``seconds``; ``before`` is None for the first request."""
    if before is None:
        return LatencyEstimate(max(seconds, FAILURE_SECONDS), now, is_first=True)
    return before.failed(seconds, now)


@dataclass(frozen=True, slots=True)
class Failing:
    """A moving average of the failure rate.

    Attributes:
        share: The failure rate, from 0 to 1.
        at: When it last changed, in seconds of the monotonic clock.
    """

    share: float = 0.0
    at: float = 0.0

    def after(self, now: float, *, failed: bool) -> Failing:
        """Update the failure rate with one more request."""
        return Failing(self.share + FAILURE_WEIGHT * (failed - self.share), now)

    def is_too_often(self, now: float) -> bool:
        """Whether the rate is so high that other endpoints come first. It decays, so that the endpoint is tried again."""
        return self.share > TOO_OFTEN and self.share * 0.5 ** ((now - self.at) / FORGIVEN) > TOO_OFTEN
