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
    """A moving average of an endpoint's latency.

    Attributes:
        seconds: The mean.
        at: When the mean last changed, in seconds of the monotonic clock.
        is_first: Whether only one request was measured, which had to set up a connection. The next answer
            replaces its latency.
    """

    seconds: float
    at: float
    is_first: bool = False

    def expected_seconds(self, now: float) -> float:
        """The latency to expect at ``now``, in seconds.

        Between measurements it falls to half of the mean, so that a slow endpoint is tried again.
        """
        age = now - self.at
        return 0.5 * self.seconds if age >= FADES else self.seconds * (1.0 - 0.5 * age / FADES)

    def with_answer(self, seconds: float, now: float) -> LatencyEstimate:
        """Return the mean after an answer that took ``seconds``. The older the mean, the more the answer counts."""
        weight = 1.0 if self.is_first else max(LEAST_WEIGHT, 1.0 - 0.5 ** ((now - self.at) / HALF_LIFE))
        return LatencyEstimate(self.seconds + weight * (seconds - self.seconds), now)

    def with_failure(self, seconds: float, now: float) -> LatencyEstimate:
        """Return the mean after a failure that took ``seconds``, which counts only if it is longer than the mean."""
        if seconds > self.seconds:
            return self.with_answer(seconds, now)
        return LatencyEstimate(self.seconds, now, self.is_first)


def latency_after_answer(previous: LatencyEstimate | None, seconds: float, now: float) -> LatencyEstimate:
    """Return the mean latency after an answer that took ``seconds``; ``previous`` is None at the first request."""
    return (
        LatencyEstimate(seconds, now, is_first=True)
        if previous is None
        else previous.with_answer(seconds, now)
    )


def latency_after_failure(previous: LatencyEstimate | None, seconds: float, now: float) -> LatencyEstimate:
    """Return the mean latency after a failure that took ``seconds``; ``previous`` is None at the first request."""
    if previous is None:
        return LatencyEstimate(max(seconds, FAILURE_SECONDS), now, is_first=True)
    return previous.with_failure(seconds, now)


@dataclass(frozen=True, slots=True)
class FailureRate:
    """A moving average of an endpoint's failure rate.

    Attributes:
        share: The failure rate, from 0 to 1.
        at: When the rate last changed, in seconds of the monotonic clock.
    """

    share: float = 0.0
    at: float = 0.0

    def with_request(self, now: float, *, failed: bool) -> FailureRate:
        """Return the failure rate after one more request."""
        return FailureRate(self.share + FAILURE_WEIGHT * (failed - self.share), now)

    def is_too_high(self, now: float) -> bool:
        """Whether the rate, which decays with time, is so high that other endpoints are preferred."""
        return self.share > TOO_OFTEN and self.share * 0.5 ** ((now - self.at) / FORGIVEN) > TOO_OFTEN
