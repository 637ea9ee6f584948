"""Observers that measure an endpoint's load, latency and tail latency."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from ...failures import POLICY, Category
from ...routing.selection import latency_kind
from .base import TrafficObserver, is_its_fault

if TYPE_CHECKING:
    from ...failures import Failure
    from ...receipt import Attempt
    from ..steps import Try

_GIVEN_UP = frozenset({Category.CANCELLED, Category.TIMEOUT})


class LoadObserver(TrafficObserver):
    """Counts each endpoint's requests in flight and recent requests, for strategies that balance load."""

    @override
    def started(self, step: Try) -> None:
        with self._traffic.lock:
            self._traffic.targets.began(step.candidate.target, step.number, step.lost_at)

    @override
    def received(self, step: Try) -> None:
        with self._traffic.lock:
            self._traffic.targets.ended(step.candidate.target, step.number)

    @override
    def ended(self, step: Try, _: Attempt, __: Failure | None) -> None:
        self.received(step)

    @override
    def abandoned(self, step: Try, _: Attempt | None) -> None:
        self.received(step)


class LatencyObserver(TrafficObserver):
    """Measures each endpoint's latency and failure rate, for strategies that prefer quick endpoints.

    Failures count only if they are the endpoint's fault.
    """

    @override
    def ended(self, step: Try, attempt: Attempt, failure: Failure | None) -> None:
        if failure is not None and not is_its_fault(step, failure):
            return
        targets, kind = self._traffic.targets, latency_kind(step.route.needs)
        tell = targets.answered if failure is None else targets.failed
        with self._traffic.lock:
            tell(step.candidate.target, kind, _seconds(step, attempt))


class TailLatencyObserver(TrafficObserver):
    """Records answer times: from their slow tail the delay before a second, hedging request is computed.

    Rejected answers count, too, and cancelled requests with the time until then. Other failures do not count.
    """

    @override
    def ended(self, step: Try, attempt: Attempt, failure: Failure | None) -> None:
        is_known = failure is None or POLICY[failure.category].is_rejection or attempt.first_token is not None
        if attempt.withdrawn or (not is_known and failure is not None and failure.category not in _GIVEN_UP):
            return
        feature, kind = step.route.feature.name, latency_kind(step.route.needs)
        with self._traffic.lock:
            tail = self._traffic.tail_latency.of(feature, str(step.candidate.endpoint), kind)
            (tail.took if is_known else tail.took_at_least)(_seconds(step, attempt))


def _seconds(step: Try, attempt: Attempt) -> float:
    """Seconds to the first token of a stream, if it arrived; else to the end."""
    if latency_kind(step.route.needs) == "first_token" and attempt.first_token is not None:
        return attempt.first_token.total_seconds()
    return attempt.duration.total_seconds()
