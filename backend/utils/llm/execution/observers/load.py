"""How busy an endpoint is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...failures import Failure
    from ...receipt import Attempt
    from ...state.traffic import Traffic
    from ..steps import Try


class LoadObserver:
    """Counts requests in flight, and those of late."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic

    def started(self, step: Try) -> None:
        """See `AttemptObserver`."""
        with self._traffic.lock:
            self._traffic.targets.began(step.candidate.target, step.number, step.lost_at)

    def received(self, step: Try) -> None:
        """See `AttemptObserver`."""
        with self._traffic.lock:
            self._traffic.targets.ended(step.candidate.target, step.number)

    def ended(self, step: Try, _: Attempt, __: Failure | None) -> None:
        """See `AttemptObserver`."""
        self.received(step)
