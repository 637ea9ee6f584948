"""Observers that measure the load, the latency and the tail latency of endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from ...failures import POLICY, FailureCategory
from ...routing.selection import latency_kind
from .base import TrafficObserver, is_endpoint_fault

if TYPE_CHECKING:
    from ...failures import ClassifiedFailure
    from ...receipt import Attempt
    from ..steps import Try

_GIVEN_UP = frozenset({FailureCategory.CANCELLED, FailureCategory.TIMEOUT})


class LoadObserver(TrafficObserver):
    """Counts each endpoint's recent requests and requests in flight, for strategies that balance load."""

    @override
    def on_started(self, step: Try) -> None:
        with self._traffic.lock:
            self._traffic.targets.record_start(step.candidate.traffic_key, step.number, step.lost_at)

    @override
    def on_answer_received(self, step: Try) -> None:
        with self._traffic.lock:
            self._traffic.targets.record_end(step.candidate.traffic_key, step.number)

    @override
    def on_ended(self, step: Try, _: Attempt, __: ClassifiedFailure | None) -> None:
        self.on_answer_received(step)

    @override
    def on_abandoned(self, step: Try, _: Attempt | None) -> None:
        self.on_answer_received(step)


class LatencyObserver(TrafficObserver):
    """Measures each endpoint's latency and failure rate, for strategies that prefer fast endpoints.

    Only failures that the endpoint caused count.
    """

    @override
    def on_ended(self, step: Try, attempt: Attempt, failure: ClassifiedFailure | None) -> None:
        if failure is not None and not is_endpoint_fault(step, failure):
            return
        targets, kind = self._traffic.targets, latency_kind(step.route.needs)
        tell = targets.record_answer if failure is None else targets.record_failure
        with self._traffic.lock:
            tell(step.candidate.traffic_key, kind, _seconds(step, attempt))


class TailLatencyObserver(TrafficObserver):
    """Records how long answers take. The slowest ones determine the delay before a hedge is sent.

    Rejected answers count, too. A cancelled or timed-out request counts as having taken at least its
    duration. Other failures do not count.
    """

    @override
    def on_ended(self, step: Try, attempt: Attempt, failure: ClassifiedFailure | None) -> None:
        is_known = failure is None or POLICY[failure.category].is_rejection or attempt.first_token is not None
        if attempt.withdrawn or (not is_known and failure is not None and failure.category not in _GIVEN_UP):
            return
        feature, kind = step.route.feature.name, latency_kind(step.route.needs)
        with self._traffic.lock:
            tail = self._traffic.tail_latency.recent_latencies(feature, str(step.candidate.endpoint), kind)
            (tail.record_answer if is_known else tail.record_unfinished_request)(_seconds(step, attempt))


def _seconds(step: Try, attempt: Attempt) -> float:
    """Seconds to the first token of a stream, if it arrived; else to the end."""
    if latency_kind(step.route.needs) == "first_token" and attempt.first_token is not None:
        return attempt.first_token.total_seconds()
    return attempt.duration.total_seconds()
