"""Decides whether and how long a call waits for unavailable endpoints, and which of them it probes early."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..routing.waiting import PROBE_POLL_SECONDS, can_wait
from ..state.circuit_breaker import IN_A_ROW

if TYPE_CHECKING:
    from ..model_config import Feature
    from ..state.health import Circuit, HealthTracker, UnavailableReason
    from .steps import PendingRequest


class WaitPolicy:
    """Decides how long one call waits for unavailable endpoints, and which of them it probes early."""

    def __init__(self, feature: Feature, health: HealthTracker) -> None:
        self._feature = feature
        self._health = health
        self._looked: dict[Circuit, tuple[float, int]] = {}
        """When this call first saw each circuit resting, and how often the circuit had opened by then."""
        self._gives_up_at = math.inf
        """When the call stops waiting for a retry on loan."""

    def note_first_unavailable(
        self, circuit: Circuit, why: UnavailableReason, now: float
    ) -> tuple[float, int]:
        """Record when this call first found the endpoint of ``circuit`` unavailable; a later time changes nothing.

        Returns:
            The first time, by the monotonic clock, and how often the circuit breaker had opened by then.
        """
        return self._looked.setdefault(circuit, (now, why.openings))

    def record_borrowed_retry(
        self, pending: PendingRequest, why: UnavailableReason | None, now: float
    ) -> None:
        """Record that the call waits for the retry ``pending``, to be borrowed from an empty retry budget.

        ``why`` is why the endpoint is unavailable since its last failure; None if it is available.
        """
        if why is not None:
            self._looked[pending.candidate.endpoint_circuit] = now, why.openings
        self._gives_up_at = min(self._gives_up_at, pending.not_before + self._feature.wait)

    def seconds_until_check(
        self, pending: PendingRequest, why: UnavailableReason | None, now: float
    ) -> float | None:
        """Return in how many seconds to check ``pending`` again: 0 for at once, None to stop waiting for it.

        ``why`` is why its endpoint is unavailable; None if it is available.
        """
        if pending.on_loan and now >= self._gives_up_at:
            return None
        if pending.not_before > now:
            return pending.not_before - now
        if why is None:
            # It came back between two looks, or the budget may.
            return PROBE_POLL_SECONDS if pending.on_loan else 0.0
        if why.kind == "probing" or self.should_probe_early(pending, why, now):
            return min(why.seconds, PROBE_POLL_SECONDS)
        return why.min_wait_seconds if can_wait(why, self._feature) else None

    def should_probe_early(self, pending: PendingRequest, why: UnavailableReason, now: float) -> bool:
        """Whether to probe the endpoint of ``pending`` before the time for which it is unavailable has passed.

        True if no probe has failed since this call first found it unavailable. If the provider answers other
        calls, or if ``pending`` is on loan, fewer than `IN_A_ROW` failed probes are accepted.
        """
        if not why.can_probe_early:
            return False
        candidate = pending.candidate
        looked_at, openings = self.note_first_unavailable(candidate.endpoint_circuit, why, now)
        if why.openings == openings:
            return True
        has_patience = why.openings - openings < IN_A_ROW and now - looked_at < self._feature.wait
        return has_patience and (
            pending.on_loan or self._health.has_recent_provider_answer(candidate.retry_budget_key)
        )
